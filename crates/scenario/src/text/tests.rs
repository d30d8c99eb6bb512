use std::fmt::Write as _;

use proptest::prelude::*;

use super::{arbitrary, parse, print};

const HEADER: &str = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n";

proptest! {
    #[test]
    fn parsing_inverts_printing(scenario in arbitrary::scenario()) {
        let text = print(&scenario);
        prop_assert_eq!(parse(&text), Ok(scenario), "{}", text);
    }

    #[test]
    fn comments_blank_lines_and_spaces_mean_nothing(scenario in arbitrary::scenario()) {
        let mut text = String::from("# a note: set c\n\n");
        for line in print(&scenario).lines() {
            let spaced = line.replace(' ', "\t  ").replacen(":\t  ", ":", 1);
            writeln!(text, "  {spaced} # send 1\r\n\r").expect("a String takes all");
        }
        prop_assert_eq!(parse(&text), Ok(scenario), "{}", text);
    }

    #[test]
    fn a_text_that_was_cut_short_is_an_error(scenario in arbitrary::scenario(), cut in any::<proptest::sample::Index>()) {
        let text = print(&scenario);
        let cut = cut.index(text.trim_end().len());
        prop_assert!(parse(&text[..cut]).is_err(), "{}", &text[..cut]);
    }

    #[test]
    fn any_text_gives_a_scenario_within_the_limits_or_a_place_in_the_text(text in "[a-z0-9 :#|>\n-]{0,80}", at in 0usize..8) {
        let mut lines: Vec<&str> = HEADER.lines().collect();
        lines.insert(at.min(lines.len()), &text);
        let text = lines.join("\n");
        match parse(&text) {
            Ok(scenario) => prop_assert_eq!(parse(&print(&scenario)), Ok(scenario)),
            Err(error) => {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                prop_assert!(error.column <= line.chars().count() + 1, "{}", error);
            }
        }
    }
}

#[test_log::test]
fn what_a_printed_scenario_looks_like() {
    let text = "ring 1
        topology loopback
        family v6
        set client nodelay on
        set server rcvbuf 4096
        set server nonblock on
        lane c client
        lane s server
        c:send 1024 more dontwait->";
    let text = text.replace("->", " -> 1024\n")
        + "s: recv 512 dontwait peek -> eagain
        s: recv 4096 trunc into unmapped
        s: recv 4096 into torn 100 -> errno 71
        c: send 10 from torn 4 -> efault
        c: set cork on
        s: poll -> in|out|rdnorm|wrnorm
        s: inq -> 1024
        c: shutdown wr
        s: so-error -> 0
        s: poll -> none
        s: close
        c: abort
        end";
    let scenario = parse(&text).expect("well-formed");
    insta::assert_snapshot!(print(&scenario));
}

/// Each line stands for one text: after the header if it begins with `…`, alone otherwise.
const WRONG: &[&str] = &[
    "",
    "# only a comment",
    "rign 1",
    "ring",
    "ring 2",
    "ring 1 2",
    "ring 1",
    "ring 1/topology loopback/family v4/lane end client/end",
    "ring 1/ring 1",
    "ring 1/family v4/end",
    "ring 1/topology loopback/end",
    "ring 1/topology loopback/family v4/c: poll/end",
    "ring 1/topology bridge",
    "ring 1/family v5",
    "ring 1/family v4/family v6",
    "ring 1/set clint nodelay on",
    "ring 1/set client",
    "ring 1/set client nodeley on",
    "ring 1/set client cork yes",
    "ring 1/set client rcvbuf on",
    "ring 1/lane C client",
    "ring 1/lane c client/lane d client",
    "ring 1/lane c client/lane c server",
    "ring 1/lane c client/lane s server/lane t server",
    "…c: sedn 10",
    "…c: frobnicate",
    "…c send 10",
    "…d: send 10",
    "…client: send 10",
    "…foo",
    "…c:",
    "…c: send",
    "…c: send -1",
    "…c: send ten",
    "…c: send 1048577",
    "…c: send 4294967296",
    "…c: send 10 dontwiat",
    "…c: send 10 peek",
    "…c: recv 10 peek peek",
    "…c: recv 10 from unmapped",
    "…c: recv 10 into mapped",
    "…c: recv 10 into torn",
    "…c: recv 10 into torn 10",
    "…c: send 10 into torn 4",
    "…c: shutdown both",
    "…c: poll now",
    "…c: poll -> in|uot",
    "…c: poll -> in|",
    "…c: send 10 -> eagian",
    "…c: send 10 ->",
    "…c: send 10 -> 4294967296",
    "…c: send 10 -> errno 99999999999",
    "…c: send 10 -> 10 20",
    "…c: poll/set client cork on",
    "…c: poll/topology loopback",
    "…c: poll/s: re",
    "…c: poll/en",
    "…end/c: poll",
    "…end end",
    "…# ü/  ü: poll",
];

#[test_log::test]
fn what_a_wrong_text_is_told() {
    let mut table = String::new();
    for wrong in WRONG {
        let text = wrong.replace('/', "\n").replace('…', HEADER);
        let error = parse(&text).expect_err(wrong);
        writeln!(table, "{wrong}\n    {error}").expect("a String takes all");
    }
    insta::assert_snapshot!(table);
}

#[test_log::test]
fn the_step_beyond_a_limit_is_the_one_that_is_named() {
    let mut text = HEADER.to_owned();
    for _ in 0..17 {
        text += "c: send 1048576\n";
    }
    let error = parse(&(text + "end")).expect_err("17 MiB");
    assert_eq!((error.line, error.column), (22, 9), "{error}");

    let text = HEADER.to_owned() + &"c: poll\n".repeat(257) + "end";
    let error = parse(&text).expect_err("257 steps");
    assert_eq!((error.line, error.column), (262, 4), "{error}");
}
