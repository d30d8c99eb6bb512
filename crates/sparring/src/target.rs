//! The kernel target: which kernel, which modules, which pairing. A target is data made from flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use judge::Contract;
use kmod::Fault;
use scenario::Invariant;
use scenario::history::Bounds;
use scenario::payload::Key;
use vm::accel::Accel;
use vm::coverage::Code;
use vm::kernel::{self, Cache, Flavour, Kernel, ModuleSource, Progress};
use vm::machine::MachineSpec;
use vm::wire::{Module, Pairing, Plan};

use crate::exit::Failure;
use crate::guest::{Patience, Spec};
use crate::progress::BuildProgress;
use crate::reach::coverage_failure;

/// Targets that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Named {
    /// Our module, which is to keep the whole contract.
    Reference,
    /// Plain TCP on the chosen kernel: nothing is attached.
    Plain,
    /// TCP sockets that our program puts into a SOCKHASH and does not pair.
    PlainInSockhash,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Flags that make a kernel target.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kernel target")]
pub struct TargetArgs {
    /// A target by name [default: reference, or what a given series, kernel or module provides]
    #[arg(long, env = "SPARRING_TARGET", hide_env_values = true)]
    pub target: Option<Named>,
    /// A defect to plant in the reference module; `--fault help` lists them
    #[arg(long, value_name = "NAME", value_parser = fault)]
    #[arg(env = "SPARRING_FAULT", hide_env_values = true)]
    pub fault: Option<&'static Fault>,
    #[command(flatten)]
    pub source: SourceArgs,
    /// A built kernel instead of one of ours
    #[arg(long, value_name = "BZIMAGE", conflicts_with_all = ["tree", "series", "flavour"])]
    #[arg(env = "SPARRING_KERNEL", hide_env_values = true)]
    pub kernel: Option<PathBuf>,
    /// A module to load, with its parameters
    #[arg(long, value_name = "KO[:k=v,...]", env = "SPARRING_MODULE", hide_env_values = true)]
    pub module: Vec<String>,
    /// A sock_ops object that pairs, instead of ours
    #[arg(long, value_name = "OBJ.bpf.o", env = "SPARRING_PAIRING", hide_env_values = true)]
    pub pairing: Option<PathBuf>,
    /// The contract to judge by; tcp, but for plain-in-sockhash sockhash
    #[arg(long, value_name = "tcp|rfc-v1|sockhash")]
    #[arg(env = "SPARRING_CONTRACT", hide_env_values = true)]
    pub contract: Option<String>,
    /// An invariant that may be broken in this run
    #[arg(long, value_name = "ID", env = "SPARRING_ALLOW", hide_env_values = true)]
    #[arg(value_delimiter = ',')]
    pub allow: Vec<Invariant>,
}

/// Flags that choose the source a kernel is built from.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// A kernel tree; it is never written to [default: Debian's packaged source]
    #[arg(long, value_name = "DIR", env = "SPARRING_TREE", hide_env_values = true)]
    pub tree: Option<PathBuf>,
    /// A patch series to apply to the source
    #[arg(long, value_name = "MBOX", env = "SPARRING_SERIES", hide_env_values = true)]
    pub series: Option<PathBuf>,
    /// What the kernel is built to see
    #[arg(long, default_value = "kcov", value_name = "kcov|kasan|kcsan|fast")]
    #[arg(env = "SPARRING_FLAVOUR", hide_env_values = true)]
    pub flavour: Flavour,
}

impl SourceArgs {
    /// The kernel that the flags ask for.
    pub fn request(&self) -> kernel::Request {
        kernel::Request {
            tree: self.tree.clone(),
            series: self.series.clone(),
            flavour: self.flavour,
        }
    }
}

/// A kernel target with everything found, built and checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// For people: what it is.
    pub name: String,
    /// The flags that make it, for a replay.
    pub flags: String,
    /// Its kernel image.
    pub bzimage: PathBuf,
    /// The kernel, unless the user gave an image.
    pub kernel: Option<Kernel>,
    /// The modules to load.
    pub modules: Vec<Module>,
    /// The program to attach.
    pub pairing: Pairing,
    /// Whether our module is loaded, before all others.
    pub is_reference: bool,
    /// The contract to judge by.
    pub contract: Contract,
    /// The contract's name, with what was allowed in addition.
    pub contract_name: String,
    /// How VMs run on this machine.
    pub accel: Accel,
}

impl TargetArgs {
    /// A target by name, on a kernel of that source.
    pub fn named(target: Named, source: SourceArgs) -> TargetArgs {
        TargetArgs {
            target: Some(target),
            fault: None,
            source,
            kernel: None,
            module: Vec::new(),
            pairing: None,
            contract: None,
            allow: Vec::new(),
        }
    }

    /// Finds and, where needed, builds what the flags ask for.
    ///
    /// # Errors
    /// [`Failure::BadInput`] for what the user gave and cannot be used, else [`Failure::Harness`].
    pub fn resolve(&self) -> Result<Target, Failure> {
        let wish = self.wish()?;
        let mut modules = self.module.iter().map(|m| module(m)).collect::<Result<Vec<_>, _>>()?;
        let pairing = self.pairing()?;
        let contract = self.contract()?;
        let cache = Cache::open().map_err(kernel_failure)?;
        let mut is_reference = false;
        let (bzimage, kernel) = match &self.kernel {
            Some(path) => (existing(path, "--kernel")?, None),
            None => {
                let progress = BuildProgress::new();
                let kernel = kernel::build(&self.source.request(), &cache, &progress)
                    .map_err(kernel_failure)?;
                if wish.is_granted_by(&kernel)? {
                    let path = build_reference(&kernel, &cache, &progress)?;
                    let parameters = self.fault.map(parameters).unwrap_or_default();
                    modules.insert(0, Module { path, parameters });
                    is_reference = true;
                }
                (kernel.bzimage.clone(), Some(kernel))
            }
        };
        let accel = vm::accel::decide(cache.root());
        Ok(Target {
            name: self.name(&pairing, is_reference),
            flags: self.flags(),
            bzimage,
            kernel,
            modules,
            pairing,
            is_reference,
            contract,
            contract_name: self.contract_name(),
            accel,
        })
    }

    /// What is wanted of our module, as far as the flags tell.
    fn wish(&self) -> Result<Wish, Failure> {
        let bad = |why: &str| Err(Failure::BadInput(why.to_owned()));
        let is_made_from_parts = self.kernel.is_some()
            || self.source.series.is_some()
            || self.pairing.is_some()
            || !self.module.is_empty();
        let wish = match self.target {
            Some(Named::Reference) => Wish::Must,
            None if !is_made_from_parts && self.fault.is_some() => Wish::Must,
            None if !is_made_from_parts => Wish::May,
            _ => Wish::No,
        };
        match (&wish, self.fault) {
            (Wish::No, Some(_)) => bad(
                "--fault plants a defect in the reference module: give it with --target reference, \
                 and without --series and --kernel",
            ),
            (Wish::Must, _) if self.source.series.is_some() => bad(
                "--target reference and --series both define bpf_sock_splice_pair: give one of them",
            ),
            (Wish::Must, _) if self.kernel.is_some() => bad(
                "--target reference needs a build tree to compile its module against, which an image is \
                 not: give --tree instead of --kernel, or your own module with --module",
            ),
            _ => Ok(wish),
        }
    }

    fn pairing(&self) -> Result<Pairing, Failure> {
        if let Some(object) = &self.pairing {
            return Ok(Pairing::Object(existing(object, "--pairing")?));
        }
        Ok(match self.target {
            Some(Named::Plain) => Pairing::None,
            Some(Named::PlainInSockhash) => Pairing::Sockhash,
            Some(Named::Reference) | None => Pairing::Ours,
        })
    }

    /// The contract that was asked for, or the target's own.
    fn contract_or_default(&self) -> &str {
        let default = match self.target {
            Some(Named::PlainInSockhash) => judge::IN_SOCKHASH,
            _ => "tcp",
        };
        self.contract.as_deref().unwrap_or(default)
    }

    fn contract(&self) -> Result<Contract, Failure> {
        let contract = Contract::by_name(self.contract_or_default())
            .map_err(|e| Failure::BadInput(e.to_string()))?;
        Ok(self.allow.iter().fold(contract, |contract, invariant| contract.allow(*invariant)))
    }

    /// The contract's name, with what was allowed in addition.
    fn contract_name(&self) -> String {
        let allowed: String = self.allow.iter().map(|id| format!(" --allow {id}")).collect();
        format!("{}{allowed}", self.contract_or_default())
    }

    fn name(&self, pairing: &Pairing, is_reference: bool) -> String {
        let mut name = match pairing {
            Pairing::None => "plain".to_owned(),
            Pairing::Sockhash => "plain-in-sockhash".to_owned(),
            Pairing::Ours if is_reference => "reference".to_owned(),
            Pairing::Ours => "paired".to_owned(),
            Pairing::Object(path) if is_reference => {
                format!("reference, paired by {}", file_name(path))
            }
            Pairing::Object(path) => format!("paired by {}", file_name(path)),
        };
        if let Some(fault) = self.fault {
            name += &format!(", fault {}", fault.name);
        }
        let parts = [
            ("kernel", self.kernel.as_deref()),
            ("tree", self.source.tree.as_deref()),
            ("series", self.source.series.as_deref()),
        ];
        for (what, path) in parts {
            if let Some(path) = path {
                name += &format!(", {what} {}", file_name(path));
            }
        }
        for module in &self.module {
            name += &format!(", module {}", file_name(Path::new(module)));
        }
        name
    }

    /// The flags again, as a shell would take them.
    fn flags(&self) -> String {
        let mut flags = Vec::new();
        let mut add = |flag: &str, value: String| flags.push(format!("{flag} {}", quoted(&value)));
        if let Some(target) = self.target {
            add("--target", target.to_string());
        }
        if let Some(fault) = self.fault {
            add("--fault", fault.name.clone());
        }
        let paths = [
            ("--tree", &self.source.tree),
            ("--series", &self.source.series),
            ("--kernel", &self.kernel),
            ("--pairing", &self.pairing),
        ];
        for (flag, path) in paths {
            if let Some(path) = path {
                // absolute, so that they hold wherever the command is repeated
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                add(flag, path.display().to_string());
            }
        }
        for module in &self.module {
            let module_path = std::path::absolute(module).unwrap_or_else(|_| module.into());
            add("--module", module_path.display().to_string());
        }
        if self.source.flavour != Flavour::default() {
            add("--flavour", self.source.flavour.to_string());
        }
        if let Some(contract) = &self.contract {
            add("--contract", contract.clone());
        }
        for invariant in &self.allow {
            add("--allow", invariant.to_string());
        }
        flags.join(" ")
    }
}

impl Target {
    /// The reference with a defect planted in it. Any other target stays as it is.
    #[must_use]
    pub fn with_fault(mut self, fault: &Fault) -> Target {
        if let Some(module) = self.modules.first_mut().filter(|_| self.is_reference) {
            module.parameters = parameters(fault);
            self.name += &format!(", fault {}", fault.name);
            self.flags += &format!(" --fault {}", fault.name);
        }
        self
    }

    /// Whether it claims to pair.
    pub fn pairs(&self) -> bool {
        matches!(self.pairing, Pairing::Ours | Pairing::Object(_))
    }

    /// What to boot for this target: one machine with one processor, its console kept in `console_log`. The guest
    /// sees the host's files, and can write to none: what a broken kernel does shall not reach the findings.
    pub fn spec(&self, key: Key, console_log: PathBuf) -> Result<Spec, Failure> {
        let plan = Plan {
            modules: self.modules.clone(),
            pairing: self.pairing.clone(),
            counters: self.is_reference.then(|| kmod::COUNTERS.into()),
            points: None,
            key,
            bounds: Bounds::default(),
        };
        let machine = MachineSpec {
            kernel: self.bzimage.clone(),
            agent: agent()?,
            accel: self.accel,
            vcpus: 1,
            memory_mib: MEMORY_MIB,
            writable: Vec::new(),
            cwd: PathBuf::from("/"),
            console_log,
            boot_limit: boot_limit(self.accel),
            append: Vec::new(),
        };
        let reference = self.modules.first().filter(|_| self.is_reference);
        let reference = reference.map(|module| module.path.clone());
        let (kernel_given, patience) = (self.kernel.is_none(), Patience::Judging);
        Ok(Spec { machine, plan, patience, kernel_given, reference })
    }

    /// The code under test: the kernel's, and that of the modules; `None` where it reports no coverage.
    ///
    /// # Errors
    /// When the kernel or a module cannot be read.
    pub fn code(&self) -> Result<Option<Code>, Failure> {
        let Some(kernel) = self.kernel.as_ref().filter(|kernel| !kernel.covered.is_empty()) else {
            return Ok(None);
        };
        let modules: Vec<PathBuf> = self.modules.iter().map(|module| module.path.clone()).collect();
        Code::read(&kernel.vmlinux, &modules).map(Some).map_err(coverage_failure)
    }
}

/// Whether our module is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// The flags ask for another target.
    No,
    /// Nothing is said, so unless the kernel has the kfunc already: a tree may be what somebody's series became.
    May,
    /// The flags ask for it.
    Must,
}

impl Wish {
    fn is_granted_by(self, kernel: &Kernel) -> Result<bool, Failure> {
        if self == Wish::No {
            return Ok(false);
        }
        match (self, kernel.defines(kmod::KFUNC).map_err(kernel_failure)?) {
            (_, false) => Ok(true),
            (Wish::Must, true) => Err(Failure::BadInput(format!(
                "the reference module and {} both define {}: leave out --target reference and --fault",
                kernel.origin,
                kmod::KFUNC
            ))),
            _ => Ok(false),
        }
    }
}

/// Builds the reference module for a kernel, if need be.
pub fn build_reference(
    kernel: &Kernel,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    let module = ModuleSource { name: kmod::NAME, files: kmod::SOURCES };
    kernel::build_module(kernel, module, cache, progress).map_err(kernel_failure)
}

/// The reference module's parameters for a fault.
fn parameters(fault: &Fault) -> String {
    format!("fault={}", fault.name)
}

/// Reads the name of a fault.
///
/// # Errors
/// Words about what to give instead.
pub fn fault(name: &str) -> Result<&'static Fault, String> {
    if let Some(fault) = kmod::fault(name) {
        return Ok(fault);
    }
    if name == "help" {
        let list: String = kmod::faults().iter().map(|fault| format!("\n  {fault}")).collect();
        return Err(format!("give one of these faults:{list}"));
    }
    let names = kmod::faults().iter().map(|fault| fault.name.as_str());
    Err(match scenario::text::nearest(name, names) {
        Some(nearest) => format!("no such fault, did you mean {nearest}?"),
        None => "no such fault; `--fault help` lists them".to_owned(),
    })
}

/// Memory of a guest: what a leaking kernel may lose until the runner replaces the machine.
const MEMORY_MIB: u32 = 2_048;

/// How long a guest may take to boot; some ten times what it takes on an idle machine.
fn boot_limit(accel: Accel) -> Duration {
    match accel {
        Accel::Kvm => Duration::from_secs(30),
        Accel::Tcg => Duration::from_secs(60),
    }
}

/// The guest's program, which is built beside this one.
fn agent() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe().map_err(|e| Failure::Harness(e.to_string()))?;
    let agent = exe.with_file_name("sparring-agent");
    if agent.exists() {
        Ok(agent)
    } else {
        Err(Failure::Harness(format!(
            "no {}: build it with `cargo build -p agent`, or start through ./sparring",
            agent.display()
        )))
    }
}

fn module(text: &str) -> Result<Module, Failure> {
    let (path, parameters) = text.split_once(':').unwrap_or((text, ""));
    Ok(Module {
        path: existing(Path::new(path), "--module")?,
        parameters: parameters.replace(',', " "),
    })
}

fn existing(path: &Path, flag: &str) -> Result<PathBuf, Failure> {
    let found = path.canonicalize().map_err(|e| {
        Failure::BadInput(format!("{flag} {}: {e}; give an existing file", path.display()))
    })?;
    if !found.is_file() {
        return Err(Failure::BadInput(format!("{flag} {}: not a file", path.display())));
    }
    Ok(found)
}

/// Sorts a kernel error into the exit codes.
pub fn kernel_failure(error: kernel::KernelError) -> Failure {
    if error.is_bad_input() {
        Failure::BadInput(error.to_string())
    } else {
        Failure::Harness(error.to_string())
    }
}

/// The last part of a path, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }

    fn parse(line: &str) -> TargetArgs {
        Line::parse_from(format!("x {line}").split_whitespace()).target
    }

    #[test_log::test]
    fn what_pairs_depends_on_what_is_given() {
        assert_eq!(parse("").pairing().unwrap(), Pairing::Ours);
        assert_eq!(parse("--target plain").pairing().unwrap(), Pairing::None);
        assert_eq!(parse("--series a.mbox").pairing().unwrap(), Pairing::Ours);
        assert_eq!(parse("--module a.ko:x=1").pairing().unwrap(), Pairing::Ours);
        assert_eq!(parse("--target plain --series a.mbox").pairing().unwrap(), Pairing::None);
        assert_eq!(parse("--target plain-in-sockhash").pairing().unwrap(), Pairing::Sockhash);
    }

    #[test_log::test]
    fn the_flags_of_a_target_make_it_again() {
        for line in [
            "",
            "--target plain --series /a.mbox --contract rfc-v1 --allow peek --allow inq",
            "--module /a.ko:x=1,y=2 --flavour kasan",
        ] {
            assert_eq!(parse(line).flags(), line);
        }
        assert_eq!(quoted("it's a file"), r"'it'\''s a file'");
    }

    #[test_log::test]
    fn the_reference_is_what_nothing_else_asks_for() {
        for (line, wish) in [
            ("", Wish::May),
            ("--tree /linux --flavour kasan", Wish::May),
            ("--target reference", Wish::Must),
            ("--target reference --pairing /a.bpf.o --module /b.ko", Wish::Must),
            ("--target plain", Wish::No),
            ("--series a.mbox", Wish::No),
            ("--kernel bzImage", Wish::No),
            ("--module a.ko", Wish::No),
            ("--pairing a.bpf.o", Wish::No),
        ] {
            assert_eq!(parse(line).wish().unwrap(), wish, "{line}");
        }
        for (line, words) in [
            ("--target reference --series a.mbox", "both define bpf_sock_splice_pair"),
            ("--target reference --kernel bzImage", "give --tree instead"),
        ] {
            let error = parse(line).wish().unwrap_err();
            assert_eq!(error.code(), 2);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test_log::test]
    fn a_fault_goes_with_the_reference_alone() {
        let name = &kmod::faults()[0].name;
        assert_eq!(parse(&format!("--fault {name}")).wish().unwrap(), Wish::Must);
        let target = parse(&format!("--fault {name} --tree /linux"));
        assert_eq!(
            target.name(&Pairing::Ours, true),
            format!("reference, fault {name}, tree linux")
        );
        assert_eq!(target.flags(), format!("--fault {name} --tree /linux"));
        for other in ["--target plain", "--series a.mbox", "--kernel bzImage", "--module a.ko"] {
            let error = parse(&format!("--fault {name} {other}")).wish().unwrap_err();
            assert_eq!(error.code(), 2, "{error}");
        }
        assert!(fault("help").unwrap_err().contains(&kmod::faults()[0].to_string()));
        assert!(fault(&name[1..]).unwrap_err().ends_with(&format!("did you mean {name}?")));
        assert!(fault("nosuch").unwrap_err().contains("--fault help"));
    }

    #[test_log::test]
    fn a_missing_file_is_bad_input() {
        let error = parse("--pairing /nowhere.bpf.o").pairing().unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().starts_with("--pairing /nowhere.bpf.o: "), "{error}");
    }
}
