//! A process that parses hostile input gives up what it does not need: changing files, and the network.
//!
//! Landlock takes away every way to write, make, rename or remove a file (`/dev/null` stays), and signals to processes
//! outside. A seccomp filter refuses `socket`, and `io_uring_setup`, by which a socket could be made without it. Both
//! need no privilege, hold for the calling thread and all that it starts, and cannot be undone. Where a system lacks
//! one, the other still holds, and the caller is told.

/// What `confine` could not take away, with the reason; `None` where it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Changes of files.
    pub files: Option<String>,
    /// The network.
    pub network: Option<String>,
}

/// Take file changes and the network from the calling thread and all threads and processes that it starts.
pub fn confine() -> Left {
    Left {
        files: system::files().err(),
        network: system::network().err(),
    }
}

/// What `confine` could not take away here; it is tried in a thread that then ends, so that nothing is given up.
pub fn probe() -> Left {
    let failed = |_| {
        let reason = Some("no thread could be started to try".to_string());
        Left {
            files: reason.clone(),
            network: reason,
        }
    };
    std::thread::Builder::new()
        .spawn(confine)
        .map_or_else(failed, |thread| {
            thread.join().unwrap_or_else(|_| Left {
                files: Some("the attempt failed".into()),
                network: Some("the attempt failed".into()),
            })
        })
}

#[cfg(target_os = "linux")]
mod system {
    use landlock::{
        ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetError, RulesetStatus, Scope,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    /// The version of Landlock whose rights are asked for; it has all by which a file can be changed.
    const RIGHTS: ABI = ABI::V3;
    /// The first version that keeps signals inside; one that is older leaves them out.
    const SIGNALS: ABI = ABI::V6;

    /// Refuse every change of a file.
    pub fn files() -> Result<(), String> {
        match restrict() {
            Ok(RulesetStatus::FullyEnforced) => Ok(()),
            Ok(RulesetStatus::PartiallyEnforced) => {
                Err("this kernel's Landlock does not refuse all of them".into())
            }
            Ok(RulesetStatus::NotEnforced) => Err("this kernel has no Landlock".into()),
            Err(error) => Err(format!("Landlock: {error}")),
        }
    }

    /// The status of the rules for files alone: signals are kept inside where the kernel can.
    fn restrict() -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_write(RIGHTS))?
            .create()?;
        if let Ok(null) = PathFd::new("/dev/null") {
            rules = rules.add_rule(PathBeneath::new(null, AccessFs::WriteFile))?;
        }
        let status = rules.restrict_self()?.ruleset;
        Ruleset::default()
            .scope(Scope::from_all(SIGNALS))?
            .create()?
            .restrict_self()?;
        Ok(status)
    }

    /// Refuse new sockets with EPERM.
    pub fn network() -> Result<(), String> {
        filter().map_err(|error| format!("seccomp: {error}"))
    }

    fn filter() -> Result<(), Box<dyn std::error::Error>> {
        let refused = [libc::SYS_socket, libc::SYS_io_uring_setup];
        let filter = SeccompFilter::new(
            refused.into_iter().map(|call| (call, vec![])).collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            std::env::consts::ARCH.try_into()?,
        )?;
        let program: BpfProgram = filter.try_into()?;
        Ok(seccompiler::apply_filter(&program)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn files() -> Result<(), String> {
        Err("this system has no Landlock".into())
    }

    pub fn network() -> Result<(), String> {
        Err("this system has no seccomp".into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_confined_thread_changes_no_file_and_opens_no_socket() {
        let path = std::env::temp_dir().join(format!("curate-confine-{}", std::process::id()));
        std::fs::write(&path, "kept").expect("a file to be kept");
        let there = path.clone();
        let left = std::thread::spawn(move || {
            let left = confine();
            if left.files.is_none() {
                assert!(std::fs::write(&there, "changed").is_err());
                assert!(std::fs::remove_file(&there).is_err());
                assert!(std::fs::write(there.with_extension("new"), "").is_err());
                std::fs::write("/dev/null", "").expect("writing to nothing stays allowed");
            }
            if left.network.is_none() {
                let error = std::net::TcpListener::bind("127.0.0.1:0").expect_err("a socket");
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            }
            assert_eq!(
                std::fs::read(&there).expect("reading stays allowed"),
                b"kept"
            );
            left
        })
        .join()
        .expect("the thread to end well");
        // Nothing of it holds here.
        assert_eq!(probe(), left);
        std::fs::write(&path, "changed").expect("a free thread to write");
        std::fs::remove_file(&path).expect("a free thread to remove");
    }
}
