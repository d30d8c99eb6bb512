//! Real guests. `./sparring test` runs these; by hand:
//! `SPARRING_TEST_KERNEL=/path/bzImage cargo test -p vm --test machine -- --ignored`. The agent is
//! `SPARRING_AGENT`, or built.

mod built;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scenario::Scenario;
use scenario::history::Bounds;
use scenario::payload::Key;
use vm::accel::{Accel, decide};
use vm::machine::{BootError, Ending, Event, Machine, MachineSpec};
use vm::wire::{Checkup, Depth, Exit, FromGuest, Pairing, Plan, Program, Refusal, ToGuest};

/// A test that waits longer has failed.
const LONG: Duration = Duration::from_secs(60);

fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| {
        if let Some(path) = std::env::var_os("SPARRING_AGENT") {
            return path.into();
        }
        built::agent(&[])
    })
}

/// A machine to boot, and the directory of its files.
fn spec() -> (MachineSpec, tempfile::TempDir) {
    let kernel =
        std::env::var_os("SPARRING_TEST_KERNEL").expect("SPARRING_TEST_KERNEL is a bzImage");
    let dir = tempfile::tempdir().unwrap();
    let spec = MachineSpec {
        kernel: kernel.into(),
        agent: agent().to_owned(),
        accel: std::env::var("SPARRING_ACCEL").map_or(Accel::Tcg, |_| decide(dir.path())),
        vcpus: 1,
        memory_mib: 512,
        writable: vec![dir.path().to_owned()],
        cwd: dir.path().to_owned(),
        console_log: dir.path().join("console.log"),
        boot_limit: LONG,
        append: Vec::new(),
    };
    (spec, dir)
}

fn plan() -> Plan {
    Plan {
        modules: Vec::new(),
        pairing: Pairing::None,
        counters: None,
        points: None,
        key: Key::from_seed(1),
        connect_within: LONG,
    }
}

fn ending(events: &[Event]) -> &Ending {
    match events.last() {
        Some(Event::Ended(ending)) => ending,
        other => panic!("no end: {other:?}"),
    }
}

/// The ending, with the events before it passed over.
fn wait_for_end(machine: &mut Machine) -> Ending {
    loop {
        match machine.next_event(LONG) {
            Event::Ended(ending) => return ending,
            Event::Timeout => panic!("no end: {:?}", machine.console()),
            _ => {}
        }
    }
}

fn message(machine: &mut Machine) -> FromGuest {
    match machine.next_event(LONG) {
        Event::Message(FromGuest::Busy) => message(machine),
        Event::Message(message) => message,
        other => panic!("{other:?}: {:?}", machine.console()),
    }
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn a_guest_says_hello_works_and_switches_itself_off() {
    let (spec, _dir) = spec();
    let mut machine = Machine::boot(&spec).unwrap();
    assert!(machine.hello().release.contains('.'));
    assert_eq!(machine.hello().cpus, 1);
    machine.send(&ToGuest::Setup(plan())).unwrap();
    assert_eq!(message(&mut machine), FromGuest::Ready);
    for number in 0..3 {
        let scenario = Scenario::default();
        let bounds = Bounds::default();
        machine.send(&ToGuest::Run { number, run: 0, bounds, scenario }).unwrap();
    }
    for wanted in 0..3 {
        let FromGuest::Done { number, .. } = message(&mut machine) else { panic!("not done") };
        assert_eq!(number, wanted);
    }
    machine.send(&ToGuest::Checkup(Depth::Counters)).unwrap();
    // no counters, and nothing was asked about the memory
    assert_eq!(message(&mut machine), FromGuest::Checkup(Checkup::default()));
    assert_eq!(ending(&machine.power_off(LONG)), &Ending::PoweredOff);
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn qemu_killed_by_others_is_told() {
    let (spec, _dir) = spec();
    let mut machine = Machine::boot(&spec).unwrap();
    let pid = i32::try_from(machine.pid().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert_eq!(wait_for_end(&mut machine), Ending::Killed { signal: 9 });
    assert_eq!(machine.pid(), None);
    assert!(matches!(machine.next_event(LONG), Event::Ended(Ending::Killed { signal: 9 })));
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn a_panic_has_a_name() {
    let (spec, _dir) = spec();
    let mut machine = Machine::boot(&spec).unwrap();
    machine.send(&ToGuest::Sysrq('c')).unwrap();
    let Ending::Panic(panic) = wait_for_end(&mut machine) else { panic!("no panic") };
    assert_eq!(
        panic.headline,
        "Kernel panic - not syncing: sysrq triggered crash in sysrq_handle_crash"
    );
    assert!(panic.text.contains("sysrq_handle_crash"), "{}", panic.text);
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn a_guest_that_does_not_answer_is_documented_and_killed() {
    let (spec, _dir) = spec();
    let mut machine = Machine::boot(&spec).unwrap();
    assert!(matches!(machine.next_event(Duration::from_millis(300)), Event::Timeout));
    let hang = machine.dump_and_kill(Duration::from_secs(20));
    assert!(hang.text.contains("sysrq: Show State"), "{}", hang.text);
    assert!(hang.text.contains("sparring-agent"), "{}", hang.text);
    assert_eq!(ending(&hang.rest), &Ending::Killed { signal: 9 });
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn what_keeps_a_kernel_from_booting_is_named() {
    let (spec, dir) = spec();
    let missing = MachineSpec { kernel: "/nonexistent".into(), ..spec.clone() };
    assert!(matches!(Machine::boot(&missing), Err(BootError::File { .. })));
    let broken = dir.path().join("no-kernel");
    std::fs::write(&broken, "no kernel").unwrap();
    let broken = MachineSpec { kernel: broken, ..spec.clone() };
    assert!(matches!(Machine::boot(&broken), Err(BootError::Start { .. })));
    let no_init = MachineSpec { append: vec!["rdinit=/none".into()], ..spec.clone() };
    let error = Machine::boot(&no_init).err().unwrap();
    assert!(matches!(error, BootError::Panicked(_)), "{error}");
    // no machine is that fast: under KVM the agent answers within a second
    let slow = MachineSpec { boot_limit: Duration::from_millis(1), ..spec.clone() };
    let error = Machine::boot(&slow).err().unwrap();
    assert!(matches!(error, BootError::NoHello { .. } | BootError::Silent(_)), "{error}");
    let nowhere = MachineSpec { cwd: "/nonexistent".into(), ..spec };
    let error = Machine::boot(&nowhere).err().unwrap();
    assert!(matches!(error, BootError::Refused(Refusal::Environment(_))), "{error}");
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn machines_run_side_by_side() {
    let (spec, _dir) = spec();
    let mut first = Machine::boot(&spec).unwrap();
    let second = Machine::boot(&spec).unwrap();
    first.kill();
    assert_eq!(wait_for_end(&mut first), Ending::Killed { signal: 9 });
    assert_eq!(ending(&second.power_off(LONG)), &Ending::PoweredOff);
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn a_program_of_the_host_runs_in_the_guest() {
    let (spec, dir) = spec();
    let (mut machine, streams) = Machine::boot_with_streams(&spec).unwrap();
    let script =
        "pwd; head -n 1; echo written > file; date +%Y >&2; touch /nothing-is-written-here; exit 3";
    let program = Program {
        argv: ["sh", "-c", script].map(Into::into).into(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        terminal: None,
    };
    (&streams.stdin).write_all(b"from the host\n").unwrap();
    machine.send(&ToGuest::Exec(program)).unwrap();
    assert_eq!(message(&mut machine), FromGuest::Exited(Exit::Code(3)));
    assert_eq!(ending(&machine.power_off(LONG)), &Ending::PoweredOff);
    let read = |mut stream: UnixStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(read(streams.stdout), format!("{}\nfrom the host\n", dir.path().display()));
    let stderr = read(streams.stderr);
    assert!(stderr.starts_with("20") && stderr.contains("Read-only file system"), "{stderr}");
    assert_eq!(std::fs::read_to_string(dir.path().join("file")).unwrap(), "written\n");
}

#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn a_dead_agent_is_no_panic() {
    let (spec, _dir) = spec();
    let (mut machine, _streams) = Machine::boot_with_streams(&spec).unwrap();
    let program = Program {
        argv: ["sh", "-c", "kill -KILL $PPID"].map(Into::into).into(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        terminal: None,
    };
    machine.send(&ToGuest::Exec(program)).unwrap();
    let died = Ending::AgentDied("the worker was killed by SIGKILL".into());
    assert_eq!(wait_for_end(&mut machine), died);
}

/// The test program again, as a host that is killed: it boots a machine, tells its process id, and waits.
#[test_log::test]
#[ignore = "boots machines: ./sparring test"]
fn no_machine_outlives_its_host() {
    if std::env::var_os("SPARRING_TEST_HOLD").is_some() {
        let (spec, _dir) = spec();
        let machine = Machine::boot(&spec).unwrap();
        std::fs::write(
            std::env::var_os("SPARRING_TEST_HOLD").unwrap(),
            format!("{}\n", machine.pid().unwrap()),
        )
        .unwrap();
        std::thread::sleep(LONG);
        return;
    }
    let (_, dir) = spec();
    let file = dir.path().join("pid");
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "no_machine_outlives_its_host"])
        .env("SPARRING_TEST_HOLD", &file)
        .env("SPARRING_AGENT", agent())
        .spawn()
        .unwrap();
    let pid =
        wait_until(|| std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
    let process = PathBuf::from("/proc").join(pid.trim());
    assert!(process.exists());
    host.kill().unwrap();
    host.wait().unwrap();
    wait_until(|| (!process.exists()).then_some(()));
}

fn wait_until<T>(ready: impl Fn() -> Option<T>) -> T {
    let end = std::time::Instant::now() + LONG;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
