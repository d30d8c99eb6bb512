//! Recorded consoles: `NAME.txt` is what the kernel printed, `NAME.expected` what we make of it, one line per complaint
//! (`kind: headline`), the panic last.

use std::fs;
use std::path::Path;

use super::Watch;

fn summary(console: &[u8], chunk: usize) -> String {
    let mut watch = Watch::default();
    let mut splats = Vec::new();
    for bytes in console.chunks(chunk) {
        splats.extend(watch.push(bytes));
    }
    splats.extend(watch.close());
    let mut lines: Vec<String> =
        splats.iter().map(|splat| format!("{}: {}\n", splat.kind, splat.headline)).collect();
    lines.extend(watch.panic().map(|panic| format!("ended: {}\n", panic.headline)));
    lines.concat()
}

#[test_log::test]
fn recorded_consoles_are_understood() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("splats/fixtures");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        seen += 1;
        let console = fs::read(&path).unwrap();
        let expected = path.with_extension("expected");
        let got = summary(&console, 4096);
        assert_eq!(got, summary(&console, 7), "the reads' lengths matter: {}", path.display());
        if std::env::var_os("SPARRING_BLESS").is_some() {
            fs::write(&expected, &got).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{}:\n got {got:?}\nwant {wanted:?}", path.display()));
        }
    }
    assert!(seen > 10, "only {seen} fixtures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
