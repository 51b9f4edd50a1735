//! One message: published, reported, or only shown.

use std::time::Instant;

use socketio_emitter::EmitError;

use crate::{
    args::{Adapter, Settings},
    connect::{Patience, connect},
    failure::{Failure, code},
    message::Message,
    nobody, output, show,
};

/// Publishes `message`, of which `required` servers at least have to hear.
pub(crate) async fn run(settings: &Settings, message: Message, required: Option<u64>) -> Result<u8, Failure> {
    if settings.dry_run {
        dry(settings, &message);
        return Ok(code::DONE);
    }
    let mut patience = Patience::new(settings);
    let emitter = connect(settings, &mut patience).await?;
    let receipt = loop {
        let started = Instant::now();
        let error = match tokio::time::timeout(patience.left(), emitter.publish(&message.plan)).await {
            Ok(Ok(receipt)) => {
                detail(settings, &message, started);
                break receipt;
            }
            Ok(Err(error)) => error,
            Err(_) => EmitError::Timeout { after: settings.timeout },
        };
        if !patience.again(&error).await {
            return Err(error.into());
        }
    };
    let receivers = match settings.adapter {
        // Who reads an entry is not known; who would is.
        Adapter::Streams => emitter.of(&settings.nsp).server_count().await.map(|count| count as u64),
        _ => Ok(receipt.receivers()),
    };
    message.report(settings, receivers.as_ref().ok().copied(), receipt.entry());
    let required = required.unwrap_or_default();
    let receivers = match receivers {
        Ok(receivers) => receivers,
        Err(error) => return Ok(uncounted(settings, error, required)),
    };
    if receivers == 0 && !settings.quiet {
        nobody::warn(settings, &message.plan.channel, patience.left()).await;
    }
    if receivers < required {
        too_few(receivers, required).print();
        return Ok(code::TOO_FEW);
    }
    Ok(code::DONE)
}

/// It was added, and servers cannot be counted: all is well, unless some are required.
fn uncounted(settings: &Settings, error: EmitError, required: u64) -> u8 {
    let reason = Failure::from(error).in_a_line();
    if required > 0 {
        not_known(required, reason).print();
        return code::TOO_FEW;
    }
    if !settings.quiet {
        output::warning(&format!("it was added; who reads it is not known: {reason}"));
    }
    code::DONE
}

/// The error of `--require-receivers` where servers cannot be counted.
pub(crate) fn not_known(required: u64, reason: String) -> Failure {
    let what = format!("who receives it is not known, {} required", output::servers(required));
    Failure::new(code::TOO_FEW, what).cause(reason)
}

/// The error of `--require-receivers`.
pub(crate) fn too_few(receivers: u64, required: u64) -> Failure {
    let what = format!("{} received it, {required} required", output::servers(receivers));
    Failure::new(code::TOO_FEW, what)
}

/// Shows what would be published.
pub(crate) fn dry(settings: &Settings, message: &Message) {
    if settings.json {
        output::line(message.as_json(&[("dry_run", &true), ("packet", &show::json(&message.plan))]));
        return;
    }
    let size = output::size(message.plan.payload.len());
    output::line(format!(
        "would {} {}  ({size})\n{}",
        message.plan.verb,
        message.plan.channel,
        show::payload(&message.plan)
    ));
}

fn detail(settings: &Settings, message: &Message, started: Instant) {
    if settings.verbose > 0 {
        let (size, took) = (output::size(message.plan.payload.len()), started.elapsed().as_secs_f64() * 1_000.0);
        output::detail(format!("{} {}  ({size}) in {took:.1} ms", message.plan.verb, message.plan.channel));
    }
    if settings.verbose > 1 {
        output::detail(show::payload(&message.plan));
    }
}
