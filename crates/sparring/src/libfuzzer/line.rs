//! libFuzzer's command line: `-name=value` for flags, all else is an input file or a corpus directory.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest input in bytes: a scenario with 256 steps of every option is a fraction of it.
const MAX_LEN: u32 = 1 << 16;
/// Memory of the fuzz target in MiB; the guest has twice as much.
const RSS_MIB: u32 = 1_024;
/// Seconds after which VMs that share a corpus look what the others have added. Each look asks for every file's times,
/// which costs a trip to the host.
const RELOAD_S: u32 = 60;
/// Seconds after which an input is an artifact for its slowness alone: calls that hang are found otherwise.
const SLOW_S: u32 = 3_600;
/// Flags that mean several processes; here they are several VMs.
const JOBS: [&str; 3] = ["fork", "jobs", "workers"];
/// Flags that name a file to be written to.
const WRITTEN: [&str; 3] = ["exact_artifact_path", "merge_control_file", "mutation_graph_file"];

/// What libFuzzer is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// To find new inputs.
    Fuzz,
    /// To run these files.
    Replay,
    /// To bring corpora together: `cargo fuzz cmin`.
    Merge,
    /// To make an input smaller: `cargo fuzz tmin`.
    Minimize,
    /// Something else, which is its own.
    Other,
}

/// The arguments of a fuzz target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Without their first `-`.
    flags: Vec<(String, String)>,
    inputs: Vec<PathBuf>,
}

impl Line {
    /// Reads arguments as libFuzzer does (`ParseFlags()` in `FuzzerDriver.cpp`): what has no `=` behind its `-` is
    /// ignored, with a word about it.
    pub fn read(arguments: &[OsString]) -> Line {
        let mut line = Line::default();
        for argument in arguments {
            match argument.to_str().and_then(|text| text.strip_prefix('-')) {
                Some(flag) => match flag.split_once('=') {
                    Some((name, value)) => line.flags.push((name.to_owned(), value.to_owned())),
                    None => eprintln!("sparring: -{flag} is ignored: flags are -name=value"),
                },
                None => line.inputs.push(argument.into()),
            }
        }
        line
    }

    /// The value of a flag: of several the last, as for libFuzzer.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rfind(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A number, where it is one and above 0: libFuzzer takes 0 and less for "no limit".
    fn number(&self, name: &str) -> Option<u64> {
        self.flag(name)?.parse().ok().filter(|number| *number > 0)
    }

    /// What is to be done.
    pub fn work(&self) -> Work {
        let has = |name| self.number(name).is_some();
        if has("minimize_crash") {
            Work::Minimize
        } else if has("merge") || has("set_cover_merge") {
            Work::Merge
        } else if ["help", "cleanse_crash", "analyze_dict"].into_iter().any(has) {
            Work::Other
        } else if !self.inputs.is_empty() && self.inputs.iter().all(|input| input.is_file()) {
            Work::Replay
        } else {
            Work::Fuzz
        }
    }

    /// Input files and corpora.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }

    /// VMs at the same time.
    pub fn jobs(&self) -> usize {
        let asked = JOBS.into_iter().find_map(|name| self.number(name)).unwrap_or(1);
        usize::try_from(asked).unwrap_or(usize::MAX).clamp(1, 256)
    }

    /// How long to fuzz.
    pub fn time(&self) -> Option<Duration> {
        self.number("max_total_time").map(Duration::from_secs)
    }

    /// How many inputs to run.
    pub fn runs(&self) -> Option<u64> {
        self.number("runs")
    }

    /// How long nothing may return from an input.
    pub fn timeout(&self) -> Option<Duration> {
        self.number("timeout").map(Duration::from_secs)
    }

    /// The exit code for a crash.
    pub fn crash_code(&self) -> u8 {
        self.number("error_exitcode").and_then(|code| u8::try_from(code).ok()).unwrap_or(77)
    }

    /// What the names of artifacts begin with: with a slash at its end a directory.
    pub fn artifact_prefix(&self) -> &str {
        self.flag("artifact_prefix").unwrap_or("./")
    }

    /// Where an artifact of that name is to be.
    pub fn artifact(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(format!("{}{name}", self.artifact_prefix()));
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Adds corpora to be read. The first one of all is written to, so there has to be one.
    pub fn read_also(&mut self, corpora: impl IntoIterator<Item = PathBuf>) {
        if self.work() == Work::Fuzz && !self.inputs.is_empty() {
            self.inputs.extend(corpora);
        }
    }

    /// Has the flag this value, unless the user gave it another.
    fn prefer(&mut self, name: &str, value: impl ToString) {
        if self.flag(name).is_none() {
            self.set(name, value);
        }
    }

    /// Gives the flag this value, whatever it had.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.flags.push((name.to_owned(), value.to_string()));
    }

    /// The directories that libFuzzer writes to.
    pub fn written(&self) -> Vec<PathBuf> {
        let directory = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
        let corpus = self.inputs.first().filter(|input| input.is_dir()).cloned();
        // of the prefix "a/b-" it is a, of "a/" as well
        let artifacts = directory(&self.artifact("x"));
        let files = WRITTEN.into_iter().filter_map(|name| self.flag(name));
        let files = files.filter_map(|file| std::path::absolute(file).ok());
        let features = self.flag("features_dir").map(PathBuf::from);
        let all = corpus.into_iter().chain([artifacts]).chain(features);
        let all = all.chain(files.map(|file| directory(&file)));
        let all = all.filter_map(|path| path.canonicalize().ok()).filter(|path| path.is_dir());
        all.collect()
    }

    /// The arguments for the guest number `vm` of this many, in which `boot` guests were before it, with so much time
    /// and so many runs left.
    pub fn for_guest(
        &self,
        vm: usize,
        boot: u64,
        time: Option<Duration>,
        runs: Option<u64>,
    ) -> Vec<OsString> {
        let mut line = self.clone();
        let jobs = self.jobs();
        line.flags.retain(|(name, _)| !JOBS.contains(&&**name));
        line.prefer("max_len", MAX_LEN);
        line.prefer("len_control", 0);
        line.prefer("rss_limit_mb", RSS_MIB);
        line.prefer("report_slow_units", SLOW_S);
        line.prefer("reload", if jobs > 1 { RELOAD_S } else { 0 });
        // its alarm would interrupt the calls of scenarios; the host watches the time
        line.set("timeout", 0);
        if let Some(time) = time {
            // 0 would be no limit
            line.set("max_total_time", time.as_secs().max(1));
        }
        if let Some(runs) = runs {
            line.set("runs", runs);
        }
        if let Some(seed) = self.number("seed") {
            // not the same inputs again, and not what another VM does
            let seed = seed + boot * jobs as u64 + vm as u64;
            line.set("seed", seed & u64::from(u32::MAX));
        }
        line.arguments()
    }

    /// The arguments again; of each flag the last one.
    pub fn arguments(&self) -> Vec<OsString> {
        let is_last = |at: usize, name: &str| self.flags[at + 1..].iter().all(|(n, _)| n != name);
        let flags = self.flags.iter().enumerate().filter(|(at, (name, _))| is_last(*at, name));
        let flags = flags.map(|(_, (name, value))| format!("-{name}={value}").into());
        flags.chain(self.inputs.iter().map(|input| OsStr::new(input).to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(words: &str) -> Line {
        Line::read(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn guests(line: &Line, vm: usize, boot: u64) -> Vec<String> {
        let arguments = line.for_guest(vm, boot, line.time(), line.runs());
        arguments.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test_log::test]
    fn the_work_shows_in_flags_and_inputs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("crash-1");
        fs::write(&file, "").unwrap();
        let (directory, file) = (directory.path().display(), file.display());
        for (words, work) in [
            ("", Work::Fuzz),
            (&*format!("-runs=3 {directory}"), Work::Fuzz),
            (&format!("{directory} {file}"), Work::Fuzz),
            (&format!("-artifact_prefix=/a/ {file}"), Work::Replay),
            (&format!("-merge=1 {directory} {directory}"), Work::Merge),
            (&format!("-merge=0 {directory}"), Work::Fuzz),
            (&format!("-minimize_crash=1 -runs=255 {file}"), Work::Minimize),
            ("-help=1", Work::Other),
        ] {
            assert_eq!(line(words).work(), work, "{words}");
        }
    }

    #[test_log::test]
    fn the_last_of_a_flag_counts() {
        let line = line("-artifact_prefix=/a/ -runs=5 -artifact_prefix=/b/x-");
        assert_eq!(line.artifact("crash-0"), Path::new("/b/x-crash-0"));
        assert_eq!(line.runs(), Some(5));
        assert_eq!(line.arguments(), ["-runs=5", "-artifact_prefix=/b/x-"]);
    }

    #[test_log::test]
    fn what_is_not_said_gets_a_value_that_suits_a_guest() {
        let plain = guests(&line("c"), 0, 0);
        for word in ["-max_len=65536", "-len_control=0", "-rss_limit_mb=1024", "-reload=0", "c"] {
            assert!(plain.iter().any(|argument| argument == word), "{word} in {plain:?}");
        }
        let given = guests(&line("-max_len=99 -timeout=5 -rss_limit_mb=7 c"), 0, 0);
        for word in ["-max_len=99", "-rss_limit_mb=7", "-timeout=0"] {
            assert!(given.iter().any(|argument| argument == word), "{word} in {given:?}");
        }
    }

    #[test_log::test]
    fn several_jobs_are_several_guests_of_one() {
        for words in ["-fork=3", "-jobs=3 -workers=3"] {
            let line = line(&format!("{words} -seed=7 c"));
            assert_eq!(line.jobs(), 3);
            let third = guests(&line, 2, 1);
            assert!(third.contains(&"-seed=12".to_owned()), "{third:?}");
            assert!(third.contains(&"-reload=60".to_owned()), "{third:?}");
            assert!(!third.iter().any(|word| word.contains("fork") || word.contains("jobs")));
        }
        assert_eq!(line("-fork=0").jobs(), 1);
    }

    #[test_log::test]
    fn seeds_are_read_and_never_written_to() {
        let mut own = line("-runs=1 c");
        own.read_also(["s".into()]);
        assert_eq!(own.inputs(), [Path::new("c"), Path::new("s")]);
        // the first one would be written to
        let mut none = line("-runs=1");
        none.read_also(["s".into()]);
        assert!(none.inputs().is_empty());
        let mut merge = line("-merge=1 c d");
        merge.read_also(["s".into()]);
        assert_eq!(merge.inputs().len(), 2);
    }

    #[test_log::test]
    fn only_the_first_corpus_and_the_artifacts_are_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["a", "c", "d"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let root = root.display();
        let line = line(&format!("-artifact_prefix={root}/a/ {root}/c {root}/d"));
        let wanted = ["c", "a"].map(|name| PathBuf::from(format!("{root}/{name}")));
        assert_eq!(line.written(), wanted);
    }
}
