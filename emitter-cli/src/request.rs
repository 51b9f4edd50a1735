//! `request`: an event that clients answer, and their answers as they come.

use clap::Args;
use serde_json::json;
use socketio_emitter::{AnswerError, Summary};
use socketio_protocol::socket::Args as Values;

use crate::{
    args::{ARGUMENTS, Arguments, Settings, Target},
    asking,
    failure::{Failure, code},
    family,
    message::{select, whom},
    nobody, output,
    payload::Payload,
    show,
};

/// `request`
#[derive(Args)]
#[command(after_help = ARGUMENTS)]
pub(crate) struct Request {
    /// Event name
    pub(crate) event: String,

    #[command(flatten)]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) arguments: Arguments,

    /// Fail (exit 4) unless at least N clients answer
    #[arg(short = 'R', long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(help_heading = "Delivery")]
    pub(crate) require_answers: Option<u64>,
}

/// Asks, prints a line of JSON for each client, and how many there were.
pub(crate) async fn run(settings: &Settings, request: &Request) -> Result<u8, Failure> {
    let values = Payload::read(&request.arguments, false)?.values(None, None)?;
    let args = Values::from_values(&values).map_err(socketio_emitter::EmitError::from)?;
    let emitter = asking::open(settings).await?;
    let event = &request.event;
    let mut answers = select(&emitter, &request.target).request::<Values>(event, &args);
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        let id = json!(answer.id);
        let said = match answer.value {
            Ok(values) => {
                answered += 1;
                format!(r#""args":{}"#, show::values_json(&values.to_values().unwrap_or_default()))
            }
            Err(AnswerError::Emit(error)) => return Err(error.into()),
            Err(error) => format!(r#""error":{}"#, json!(error.to_string())),
        };
        output::line(format!(r#"{{"id":{id},{said}}}"#));
    }
    let summary = answers.summary().cloned().unwrap_or_default();
    if settings.json {
        output::line(json!({
            "event": event, "asked": summary.asked, "answered": answered, "missing": summary.missing,
            "missing_ids": summary.missing_ids, "servers": summary.servers, "silent_servers": summary.silent_servers,
        }));
    } else if !settings.quiet {
        output::detail(told(&summary, answered, event, &whom(&emitter, &request.target)));
    }
    if summary.servers == 0 && !settings.quiet {
        nobody::warn(settings, &family::servers_channel(settings), settings.timeout).await;
    }
    let required = request.require_answers.unwrap_or_default();
    if answered < required {
        Failure::new(code::TOO_FEW, format!("{} answered, {required} required", output::clients(answered))).print();
        return Ok(code::TOO_FEW);
    }
    let complete = summary.is_complete() && answered == summary.asked;
    Ok(if complete { code::DONE } else { code::PARTLY })
}

/// `2 of 3 clients answered "q" on / (2 servers); 1 is missing`
fn told(summary: &Summary, answered: u64, event: &str, whom: &str) -> String {
    let servers = output::servers(summary.servers as u64);
    let mut text = format!("{answered} of {} answered {event:?} to {whom} ({servers})", output::clients(summary.asked));
    if summary.missing > 0 {
        text += &format!("; {} missing", summary.missing);
        if !summary.missing_ids.is_empty() {
            text += &format!(": {}", summary.missing_ids.join(", "));
        }
    }
    if summary.silent_servers > 0 {
        text += &format!("; {} did not say whom they asked", output::servers(summary.silent_servers as u64));
    }
    text
}
