//! The commands that need no file, `myriapod proxy` and `myriapod serve`, and the one that explains a file.

use std::ffi::OsString;
use std::net::IpAddr;

use clap::{Arg, Args, Command};

use super::Looks;
use super::flags::Flags;

/// The flags of `myriapod proxy`.
#[derive(Args)]
pub(super) struct ProxyFlags {
    /// Where requests go: http://HOST:PORT, HOST:PORT, PORT, unix:PATH
    ///
    /// Several servers are given by several flags, or separated by commas; requests are spread over them.
    #[arg(long, env = "MYRIAPOD_TO", value_name = "SERVER", value_delimiter = ',', required = true)]
    #[arg(help_heading = "Proxy")]
    pub to: Vec<OsString>,

    #[command(flatten)]
    pub looks: Looks,

    #[command(flatten)]
    pub settings: Flags,
}

/// The flags of `myriapod serve`.
#[derive(Args)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    pub looks: Looks,

    #[command(flatten)]
    pub settings: Flags,
}

/// The flags of `myriapod explain`.
#[derive(Args)]
pub(super) struct ExplainFlags {
    /// GET, POST and so on
    #[arg(value_name = "METHOD")]
    pub method: String,

    /// What is asked for: http://HOST/PATH?QUERY, or the path alone
    #[arg(value_name = "URL")]
    pub url: String,

    /// A field of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field, help_heading = "Explain")]
    pub headers: Vec<(String, String)>,

    /// Who asks
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Explain")]
    pub from: IpAddr,

    #[command(flatten)]
    pub settings: Flags,
}

const EXPLAIN_HELP: &str = "\
Every flag and variable of the server counts here too. Nothing is asked, and nothing is sent.
Exit code 0: the page tells what would become of the request; 2: a mistake in the settings.";

/// Shows what the answer depends on.
pub(super) fn explaining(command: Command) -> Command {
    command.after_help(EXPLAIN_HELP).mut_args(|arg: Arg| {
        let is_positional = arg.get_long().is_none() && arg.get_id() != "dir";
        let is_shown = is_positional || arg.get_id() == "config" || arg.get_help_heading() == Some("Explain");
        arg.hide(!is_shown)
    })
}

/// Every request goes to the servers: a folder would never be asked.
pub(super) fn passing_on(command: Command) -> Command {
    command.mut_arg("dir", |arg| arg.hide(true))
}

/// A field as `curl -H` takes it.
fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("no colon; write 'Name: value'")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(String::from("no name that a field can have; write 'Name: value'"));
    }
    if value.chars().any(char::is_control) {
        return Err(String::from("a field holds no control characters"));
    }
    Ok((String::from(name), String::from(value.trim())))
}
