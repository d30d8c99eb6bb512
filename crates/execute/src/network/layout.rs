//! The devices of a network, made by iproute2.

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};

use scenario::{Endpoint, Family, Wire};

use super::{Subnet, within};
use crate::Error;

/// The device that an endpoint's packets take.
const WIRE: &str = "wire";

/// Puts a veth pair between the namespaces of the endpoints, or one from each of them to a bridge in the third.
pub(super) fn lay_out(
    home: &File,
    endpoints: &[File; 2],
    bridge: Option<&File>,
    wire: Wire,
    subnet: Subnet,
) -> Result<(), Error> {
    let [client, server] = endpoints.each_ref().map(path);
    match bridge {
        None => {
            let pair = format!("link add {WIRE} type veth peer name {WIRE} netns {server}\n");
            run("ip", &pair, &endpoints[Endpoint::Client.index()], home)?;
        }
        Some(bridge) => {
            let mut commands = String::from("link add bridge type bridge\n");
            for (port, endpoint) in [("client", client), ("server", server)] {
                // writing to a String cannot fail
                let _ = writeln!(
                    commands,
                    "link add {port} type veth peer name {WIRE} netns {endpoint}\n\
                     link set {port} master bridge up"
                );
            }
            commands.push_str("link set bridge up\n");
            run("ip", &commands, bridge, home)?;
        }
    }
    for endpoint in Endpoint::BOTH {
        let namespace = &endpoints[endpoint.index()];
        let [v4, v6] = [Family::V4, Family::V6].map(|family| subnet.address(endpoint, family));
        // the address is there at once without the search for others that have it (RFC 4862, section 5.4)
        let commands = format!(
            "link set {WIRE} up\n\
             address add {v4}/24 dev {WIRE}\n\
             address add {v6}/64 dev {WIRE} nodad\n"
        );
        run("ip", &commands, namespace, home)?;
        if wire != Wire::default() {
            run("tc", &netem(wire), namespace, home)?;
        }
    }
    Ok(())
}

/// `tc-netem(8)` on what leaves the device. The limit of 1000 packets that netem has by default would lose more than
/// was asked for.
fn netem(Wire { delay_us, loss_permille }: Wire) -> String {
    let (percent, tenths) = (loss_permille / 10, loss_permille % 10);
    format!(
        "qdisc replace dev {WIRE} root netem limit 100000 delay {delay_us}us loss {percent}.{tenths}%\n"
    )
}

/// A name of the namespace that other processes understand.
fn path(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", process::id(), namespace.as_raw_fd())
}

/// Has a program of iproute2 carry out commands, one a line, in a network namespace.
fn run(program: &'static str, commands: &str, namespace: &File, home: &File) -> Result<(), Error> {
    tracing::debug!("{program} -batch: {commands}");
    // a child is where the thread that makes it is
    let child = within(namespace, home, || {
        Command::new(find(program))
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    })?;
    let output = child.and_then(|mut child| {
        // what the program does not read any more is for its exit code to tell
        let _ = child.stdin.take().map(|mut to| to.write_all(commands.as_bytes()));
        child.wait_with_output()
    });
    let error = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("{program}: {}, {}", output.status, said.trim()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), format!("no {program}, install iproute2"))
        }
        Err(error) => io::Error::new(error.kind(), format!("{program}: {error}")),
    };
    Err(Error::Resource("lay out a network", error))
}

/// Where the program is: root's directories are not in everybody's PATH.
fn find(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let files = directories.map(|directory| directory.join(program));
    files.into_iter().find(|file| file.is_file()).unwrap_or_else(|| program.into())
}
