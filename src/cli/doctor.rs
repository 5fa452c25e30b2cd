//! The flags of `myriapod doctor`: its own, and all those of the server, so that what is asked is "with these
//! settings". Of the server's only those that bear on the answer are shown.

use std::path::PathBuf;

use clap::{Arg, Args, Command};

/// The server's flags that the answer depends on.
const SHOWN: [&str; 7] =
    ["max_connections", "reactors", "fd_table", "workers", "backlog", "buffer_size", "root"];

const AFTER_HELP: &str = "\
Every flag and variable of the server counts here too: put `doctor` before the flags you serve with.
Exit code 0: they fit; 1: they do not; 2: a mistake in the flags.
scripts/tune.sh makes the settings it asks for.";

#[derive(Args)]
pub(super) struct DoctorFlags {
    /// Tell it as JSON, for scripts
    #[arg(long, help_heading = "Doctor")]
    pub json: bool,

    /// Reckon with a client on this machine too
    ///
    /// The other ends of the connections take as much memory again, and as many open files.
    #[arg(long, help_heading = "Doctor")]
    pub with_client: bool,

    /// Look at a copy of another host's /proc and /sys
    ///
    /// The folder they were copied to, or mounted on. What only trying tells is taken to be allowed.
    #[arg(long, value_name = "DIR", default_value = "/", help_heading = "Doctor")]
    pub host: PathBuf,

    #[command(flatten)]
    pub settings: super::Flags,
}

/// Shows what matters here, in the words that fit here.
pub(super) fn shaped(command: Command) -> Command {
    command
        .after_help(AFTER_HELP)
        .mut_args(|arg| {
            let id = arg.get_id().as_str();
            let is_shown = SHOWN.contains(&id) || arg.get_help_heading() == Some("Doctor");
            arg.hide(!is_shown)
        })
        .mut_arg("max_connections", asked)
}

fn asked(arg: Arg) -> Arg {
    arg.long("connections")
        .visible_alias("max-connections")
        .default_value("1000000")
        .help("Connections to hold at once")
        .long_help("Connections to hold at once, over all reactors")
        .help_heading("Doctor")
}
