use scenario::Invariant;
use scenario::history::Pairing;

use super::story::Story;

fn asked(results: [Option<i32>; 2], updates: [Option<i32>; 2]) -> Story {
    let mut story = Story::new();
    story.history.connections[0].pairing = Pairing::Asked { results, updates, further: [None; 2] };
    story
}

const IN: [Option<i32>; 2] = [Some(0); 2];

#[test_log::test]
fn one_side_pairs_and_the_other_finds_itself_paired() {
    asked([Some(0), None], IN).passes();
    asked([Some(-17), Some(0)], IN).passes();
    asked([None, Some(-12)], IN).passes();
    let breaks =
        |results, diagnosis| asked(results, IN).breaks(&[(Invariant::PairResult, diagnosis)]);
    breaks([Some(0), Some(0)], "both-sides-paired");
    breaks([Some(-17), None], "eexist-without-a-pair");
    breaks([Some(-2), None], "enoent-with-both-in-map");
    breaks([Some(-22), None], "einval-on-a-fresh-connection");
    breaks([Some(-95), None], "undocumented-result");
}

#[test_log::test]
fn a_pair_that_was_asked_for_is_one_or_somebody_says_why_not() {
    asked([None, None], [Some(0), Some(-7)]).passes();
    asked([None, None], IN).breaks(&[(Invariant::Engaged, "neither-found-its-peer")]);
    asked([None, None], [Some(0), None]).breaks(&[(Invariant::Engaged, "program-did-not-run")]);
}
