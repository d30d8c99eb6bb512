use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{arbitrary, parse, print};

const HEADER: &str = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n";

/// Where, how much, and what is put in its place.
fn mistake() -> impl Strategy<Value = (Index, usize, &'static str)> {
    let instead = select(vec![
        "", " ", "\n", ":", "#", "|", "0", "99", "by", "with ", "start ", "after 1", "c",
    ]);
    (any::<Index>(), 0usize..6, instead)
}

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
    fn a_text_that_was_cut_short_is_an_error(scenario in arbitrary::scenario(), cut in any::<Index>()) {
        let text = print(&scenario);
        let cut = cut.index(text.trim_end().len());
        prop_assert!(parse(&text[..cut]).is_err(), "{}", &text[..cut]);
    }

    #[test]
    fn a_text_with_a_mistake_is_read_or_refused(scenario in arbitrary::scenario(), mistakes in vec(mistake(), 1..4)) {
        let mut text = print(&scenario);
        for (at, length, instead) in mistakes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.replace_range(at..end, instead);
        }
        if let Ok(scenario) = parse(&text) {
            prop_assert_eq!(parse(&print(&scenario)), Ok(scenario), "{}", text);
        }
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

/// All that [`what_a_printed_scenario_looks_like`] leaves out, as it is printed.
const WIDE: &str = "\
ring 1
topology bridge
wire delay 2000 loss 10
family v4
pairs 3
attempt stranger
set client 2 linger 0
set server keepalive on
lane c client
lane d client 1
lane with server 1

c: send 100 more zerocopy by vector 3 from torn 5
start with: recv 100 by batch 2
with d: send 5 by uring after 20 -> 5
with d: send 5 by splice
d: recv 5 by tee
start d: send 5 by file -> 5
c: err-queue -> 1
c: wait in|rdhup 50 by epoll-edge -> in|rdnorm
c: wait none 0
c: set peek-off 3
c: set tcp-inq off
d: signal with
with with: signal d restart after 1000000
with: at-mark
c: pause 200

end
";

#[test_log::test]
fn the_wider_vocabulary_is_printed_as_it_is_written() {
    let scenario = parse(WIDE).expect("well-formed");
    assert_eq!(print(&scenario), WIDE);
    assert_eq!(scenario.steps[11].op.to_string(), "signal lane 2", "an op alone knows no names");
}

#[test_log::test]
fn the_documentation_shows_a_scenario() {
    let shown = include_str!("mod.rs").split("```").nth(1).expect("a block");
    let text: String =
        shown.lines().skip(1).map(|line| line.replacen("//!", "", 1) + "\n").collect();
    assert_eq!(parse(&text).map(|scenario| scenario.steps.len()), Ok(10), "{text}");
}

#[test_log::test]
fn what_holds_anyway_may_be_written_and_is_not_printed() {
    let plain =
        "ring 1\ntopology veth\nfamily v6\nlane c client\n\nc: recv 1\nc: wait in 1\n\nend\n";
    let written = "ring 1\nattempt once\npairs 1\ntopology veth\nfamily v6\nlane c client 0\n
        c: recv 1 by call\nc: wait in 1 by poll\nend";
    assert_eq!(parse(written).map(|scenario| print(&scenario)).as_deref(), Ok(plain));
    let turned = "ring 1\ntopology veth\nwire loss 3 delay 2\nfamily v4\nend";
    let wire = crate::Wire { delay_us: 2, loss_permille: 3 };
    assert_eq!(parse(turned).map(|scenario| scenario.wire), Ok(wire));
}

#[test_log::test]
fn a_name_that_begins_like_the_last_line_does_not_hide_that_the_text_was_cut() {
    let text = HEADER.to_owned() + "lane ended client\nended: poll\nend\n";
    assert!(parse(&text).is_ok());
    let cut = text.find("ed: poll").expect("it is there");
    assert!(parse(&text[..cut]).is_err());
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
    "ring 1/topology brigde",
    "ring 1/topology star",
    "ring 1/wire delay 1",
    "ring 1/topology loopback/wire delay 1",
    "ring 1/topology veth/wire",
    "ring 1/topology veth/wire dleay 1",
    "ring 1/topology veth/wire delay 0",
    "ring 1/topology veth/wire delay 1 delay 2",
    "ring 1/topology veth/wire delay 2000000",
    "ring 1/topology veth/wire loss 501",
    "ring 1/topology veth/wire loss 5/wire loss 5",
    "ring 1/pairs 0",
    "ring 1/pairs 5",
    "ring 1/pairs 2/pairs 2",
    "ring 1/attempt thrice",
    "ring 1/attempt once/attempt twice",
    "ring 1/family v5",
    "ring 1/family v4/family v6",
    "ring 1/set clint nodelay on",
    "ring 1/set client",
    "ring 1/set client nodeley on",
    "ring 1/set client cork yes",
    "ring 1/set client rcvbuf on",
    "ring 1/lane C client",
    "ring 1/set client linger 2/",
    "ring 1/set client 1 cork on",
    "ring 1/lane c client 1",
    "ring 1/lane c client 4",
    "ring 1/lane c client first",
    "ring 1/lane c client/lane c server",
    "ring 1/topology loopback/family v4/start c: poll/end",
    "ring 1/topology loopback/family v4/start c/end",
    "…with c: poll",
    "…start",
    "…start c poll",
    "…start d: poll",
    "…start poll",
    "…lane start client/start poll",
    "…satrt c: poll",
    "…with start c: poll",
    "…c: poll after 5",
    "…c: poll/with s: poll after",
    "…c: poll/with s: poll after 1000001",
    "…c: poll/with s: poll -> 0 after 5",
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
    "…c: send 10 by",
    "…c: send 10 by hand",
    "…c: send 10 by vector",
    "…c: send 10 by vector 17",
    "…c: send 10 by uring more",
    "…c: send 10 from torn 4 by uring",
    "…c: send 10 by uring from torn 4",
    "…c: send 10 oob by splice",
    "…c: recv 10 by file",
    "…c: wait",
    "…c: wait in",
    "…c: wait in|uot 5",
    "…c: wait 5",
    "…c: wait in 1001",
    "…c: wait in 5 by pol",
    "…c: signal",
    "…c: signal d",
    "…c: signal s again",
    "…c: pause 1000001",
    "…c: set linger 2",
    "…c: set rcvtimeo on",
    "…s: connect",
    "…c: dup/c: dup/c: dup/c: dup/c: fork/c: fork/c: fork/c: fork",
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
