//! A mailbox, as `git format-patch` or `b4` write it → the patches in it, in order.

/// One patch: what `patch -p1` is to be given, and what to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The mail's subject, unfolded; of a bare diff, nothing.
    pub(crate) subject: String,
    /// The diff, from its first header line on.
    pub(crate) diff: String,
}

/// Splits `text` into its patches, in the order their subjects number them.
///
/// Cover letters, replies and other mail without a diff are left out. A file without any "From "
/// line counts as one mail, or as a bare diff.
///
/// # Errors
/// What is wrong with the mailbox and what to do about it.
pub(crate) fn patches(text: &str) -> Result<Vec<Patch>, String> {
    let mut found: Vec<(Option<u32>, Patch)> = Vec::new();
    for mail in mails(&text.replace("\r\n", "\n")) {
        let (subject, body) = read_mail(&mail);
        let reply = subject.to_ascii_lowercase().starts_with("re:");
        let Some(diff) = diff_of(&body).filter(|_| !reply) else {
            continue;
        };
        let number = number_of(&subject);
        if let Some((_, twin)) = found.iter().find(|(n, _)| n.is_some() && *n == number) {
            return Err(format!(
                "holds two patches of the same number, \"{}\" and \"{subject}\": keep one version \
                 of the series (`b4 am` picks one)",
                twin.subject
            ));
        }
        found.push((number, Patch { subject, diff }));
    }
    if found.is_empty() {
        return Err("holds no patch: give the mailbox that `git format-patch --stdout` or \
                    `b4 am -o- <message-id>` write"
            .to_owned());
    }
    // Stable: mails without a number stay where they were.
    found.sort_by_key(|(number, _)| number.unwrap_or(0));
    Ok(found.into_iter().map(|(_, patch)| patch).collect())
}

/// The mails of a mailbox. `mboxrd` quotes lines that begin with "From " by ">", which is undone
/// where the separator says that it is one (as public-inbox's do).
fn mails(text: &str) -> Vec<String> {
    let mut mails: Vec<String> = Vec::new();
    let mut blank = true;
    let mut quoted = false;
    for line in text.split_inclusive('\n') {
        if blank && is_separator(line) {
            quoted = line.starts_with("From mboxrd@z ");
            mails.push(String::new());
        } else {
            if mails.is_empty() {
                mails.push(String::new());
            }
            let unquoted = line
                .strip_prefix('>')
                .filter(|rest| quoted && rest.trim_start_matches('>').starts_with("From "));
            if let Some(mail) = mails.last_mut() {
                mail.push_str(unquoted.unwrap_or(line));
            }
        }
        blank = line.trim_end().is_empty();
    }
    mails
}

/// "From <sender> <asctime>": a line of prose can begin with "From ", but does not end in a year.
fn is_separator(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    line.starts_with("From ")
        && words.len() >= 7
        && words
            .last()
            .is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
        && words.iter().any(|time| time.bytes().filter(|b| *b == b':').count() == 2)
}

/// Subject and decoded body of one mail.
fn read_mail(mail: &str) -> (String, String) {
    let mut subject = String::new();
    let mut encoding = String::new();
    let mut header = "";
    let mut rest = mail;
    while let Some((line, after)) = rest.split_once('\n') {
        if line.trim().is_empty() {
            rest = after;
            break;
        }
        let folded = line.starts_with([' ', '\t']);
        let (name, value) = match line.split_once(':') {
            _ if folded => (header, line),
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '/']) => (name, value),
            // Not a header: a bare diff, which begins here.
            _ => break,
        };
        let field = match name.to_ascii_lowercase().as_str() {
            "subject" => Some(&mut subject),
            "content-transfer-encoding" => Some(&mut encoding),
            _ => None,
        };
        if let Some(field) = field {
            if !field.is_empty() {
                field.push(' ');
            }
            field.push_str(value.trim());
        }
        header = name;
        rest = after;
    }
    let body = match encoding.to_ascii_lowercase().as_str() {
        "quoted-printable" => quoted_printable(rest),
        "base64" => base64(rest),
        _ => rest.to_owned(),
    };
    (subject, body.replace("\r\n", "\n"))
}

/// From the first line of a diff on; `None` when there is no diff.
fn diff_of(body: &str) -> Option<String> {
    let mut start = 0;
    let mut at = 0;
    let mut seen_header = false;
    for line in body.split_inclusive('\n') {
        let header = line.starts_with("diff --git ")
            || (line.starts_with("--- ") && !line.starts_with("--- \n") && !seen_header);
        if header && !seen_header {
            start = at;
            seen_header = true;
        }
        if seen_header && (line.starts_with("@@ ") || line.starts_with("rename to ")) {
            return Some(body[start..].to_owned());
        }
        at += line.len();
    }
    None
}

/// The n of "[PATCH n/m]"; `None` for a subject that is not numbered.
fn number_of(subject: &str) -> Option<u32> {
    let tag = subject.split_once('[')?.1.split_once(']')?.0;
    tag.split_whitespace().find_map(|word| {
        let (n, m) = word.split_once('/')?;
        m.parse::<u32>().ok()?;
        n.parse().ok()
    })
}

/// RFC 2045, 6.7.
fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\n", "");
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'=' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 4648, 4; anything outside the alphabet is skipped, as RFC 2045 asks.
fn base64(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n-- \n2.43.0\n\n";

    fn mail(subject: &str, body: &str) -> String {
        format!(
            "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\
             From: A <a@example.org>\nSubject: {subject}\nMIME-Version: 1.0\n\n{body}\n"
        )
    }

    fn subjects(text: &str) -> Vec<String> {
        patches(text).unwrap().into_iter().map(|patch| patch.subject).collect()
    }

    #[test_log::test]
    fn cover_letters_and_replies_are_left_out_and_numbers_order() {
        let text = mail("[PATCH 0/2] cover", "words\n---\n x | 2 +-\n")
            + &mail("[PATCH 2/2] two", DIFF)
            + &mail("Re: [PATCH 1/2] one", &format!("maybe so:\n{DIFF}"))
            + &mail("[PATCH 1/2] one", &format!("Why.\n---\n x | 2 +-\n\n{DIFF}"));
        assert_eq!(subjects(&text), ["[PATCH 1/2] one", "[PATCH 2/2] two"]);
        assert!(patches(&text).unwrap()[0].diff.starts_with("diff --git a/x b/x\n"));
    }

    #[test_log::test]
    fn a_from_in_prose_does_not_split() {
        let body = format!("Once.\n\nFrom here on all is well in 2001\nFrom there too\n{DIFF}");
        assert_eq!(subjects(&mail("[PATCH] one", &body)), ["[PATCH] one"]);
    }

    #[test_log::test]
    fn mboxrd_quoting_is_undone() {
        let text = format!(
            "From mboxrd@z Thu Jan  1 00:00:00 1970\nSubject: [PATCH] a\n subject folded\n\nx\n---\n{}",
            DIFF.replace("-a\n+b\n", "-a\n>From b\n")
        );
        let patches = patches(&text).unwrap();
        assert_eq!(patches[0].subject, "[PATCH] a subject folded");
        assert!(patches[0].diff.contains("\nFrom b\n"), "{}", patches[0].diff);
    }

    #[test_log::test]
    fn encodings_and_line_ends_are_undone() {
        let quoted = "From mboxrd@z Thu Jan  1 00:00:00 1970\nSubject: [PATCH] q\n\
             Content-Transfer-Encoding: quoted-printable\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n\
             @@ -1 +1 @@\n-a=3D1\n+a=3D=\n2\n";
        assert!(patches(quoted).unwrap()[0].diff.ends_with("-a=1\n+a=2\n"));
        let encoded = "From mboxrd@z Thu Jan  1 00:00:00 1970\nSubject: [PATCH] b\n\
             Content-Transfer-Encoding: base64\n\n\
             LS0tIGEveAorKysgYi94CkBAIC0xICsxIEBACi1h\nCitiCg==\n";
        assert_eq!(patches(encoded).unwrap()[0].diff, "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n");
        let crlf = mail("[PATCH] c", DIFF).replace('\n', "\r\n");
        assert_eq!(patches(&crlf), patches(&mail("[PATCH] c", DIFF)));
    }

    #[test_log::test]
    fn a_bare_diff_is_a_series_of_one() {
        assert_eq!(patches(DIFF).unwrap()[0].diff, DIFF);
    }

    #[test_log::test]
    fn no_patch_and_two_versions_are_refused() {
        assert!(patches("hello\n").unwrap_err().contains("holds no patch"));
        assert!(patches("").unwrap_err().contains("holds no patch"));
        let twice = mail("[PATCH 1/2] one", DIFF) + &mail("[PATCH v2 1/2] one", DIFF);
        assert!(patches(&twice).unwrap_err().contains("two patches of the same number"));
    }

    #[test_log::test]
    fn the_posted_series_is_five_patches() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/series/rfc-v1.mbox");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: {path} is not there");
            return;
        };
        let patches = patches(&text).unwrap();
        assert_eq!(patches.len(), 5);
        for (n, patch) in (1..).zip(&patches) {
            assert!(patch.subject.starts_with(&format!("[RFC PATCH bpf-next {n}/5] ")));
        }
    }
}
