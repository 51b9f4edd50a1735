//! What all commands that ask have in common: connecting in time, and telling who did not answer.

use socketio_emitter::Emitter;

use crate::{
    args::Settings,
    connect::{Patience, connect},
    failure::{Failure, code},
    family, nobody, output,
};

/// An emitter whose questions wait as long as the command may take.
pub(crate) async fn open(settings: &Settings) -> Result<Emitter, Failure> {
    if settings.dry_run {
        return Err(Failure::usage("--dry-run is for what changes something").tip("this asks, and can be asked"));
    }
    Ok(connect(settings, &mut Patience::new(settings)).await?.of(&settings.nsp))
}

/// Tells of servers that did not answer, and gives the exit code.
pub(crate) async fn servers_missing(settings: &Settings, asked: usize, missing: usize) -> u8 {
    if asked == 0 {
        if !settings.quiet {
            nobody::warn(settings, &family::servers_channel(settings), settings.timeout).await;
        }
        return code::DONE;
    }
    if missing == 0 {
        return code::DONE;
    }
    let (asked, time) = (output::servers(asked as u64), output::duration(settings.timeout));
    let failure = Failure::new(code::PARTLY, format!("{missing} of {asked} did not answer within {time}"));
    failure.tip("what is shown is what the others have; look for a server that is frozen or overloaded").print();
    code::PARTLY
}
