//! `server-emit --ack`: an event for the servers, and what each answers.

use socketio_protocol::socket::{Args as Values, Value};

use crate::{
    args::{ServerEmit, Settings},
    asking,
    failure::{Failure, code},
    output,
    payload::Payload,
    show,
};

/// Asks, and prints what each server answers as a line of JSON.
pub(crate) async fn run(settings: &Settings, emit: &ServerEmit) -> Result<u8, Failure> {
    let values = Payload::read(&emit.arguments, false)?.values(None, None)?;
    let args = Values::from_values(&values).map_err(socketio_emitter::EmitError::from)?;
    let emitter = asking::open(settings).await?;
    let answers = emitter.server_side_emit_with_ack::<Option<Value>>(&emit.event, &args).await?;
    for answer in &answers.received {
        output::line(match answer {
            Ok(value) => show::value_json(value.as_ref().unwrap_or(&Value::Null)),
            Err(error) => return Err(Failure::new(code::FAILED, "an answer cannot be read").cause(error)),
        });
    }
    if !settings.json && !settings.quiet {
        let (answered, asked) = (answers.received.len(), output::servers(answers.asked as u64));
        output::detail(format!("{answered} of {asked} answered {:?} on {}", emit.event, emitter.nsp()));
    }
    Ok(asking::servers_missing(settings, answers.asked, answers.missing).await)
}
