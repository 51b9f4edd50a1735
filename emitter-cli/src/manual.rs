//! Completion scripts and man pages, made from what [`args`] says.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::{
    args,
    failure::{Failure, code},
    output,
};

/// `completions`
#[derive(Args)]
#[command(after_help = PLACES)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

const PLACES: &str = "Where it goes:
  bash  emitter-cli completions bash > ~/.local/share/bash-completion/completions/emitter-cli
  zsh   emitter-cli completions zsh > \"${fpath[1]}/_emitter-cli\"
  fish  emitter-cli completions fish > ~/.config/fish/completions/emitter-cli.fish";

/// `man`
#[derive(Args)]
pub(crate) struct Man {
    /// Where the pages go
    directory: PathBuf,
}

pub(crate) fn completions(completions: &Completions) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut args::command(), "emitter-cli", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    code::DONE
}

pub(crate) fn man(man: &Man) -> Result<u8, Failure> {
    let directory = &man.directory;
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(args::command(), directory));
    written
        .map_err(|error| Failure::new(code::FAILED, format!("cannot write to {}", directory.display())).cause(error))?;
    Ok(code::DONE)
}
