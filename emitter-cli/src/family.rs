//! Which adapter the servers have, beyond its name: what servers with that adapter can be told, too.

use clap::{Args, ValueEnum};
use socketio_emitter::{Builder, SubscriptionMode};
use socketio_protocol::cluster::{emitter::Channels, streams};

use crate::args::{Adapter, Settings};

/// The options of adapters, which have to be those of the servers.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// With --adapter sharded: which rooms have a channel of their own
    #[arg(long, value_enum, value_name = "MODE", default_value = "dynamic", hide_possible_values = true)]
    #[arg(global = true, help_heading = "Adapter")]
    mode: Mode,

    /// With --adapter streams: the stream's name, if it is not that of --key
    #[arg(long, value_name = "NAME", global = true, help_heading = "Adapter")]
    stream: Option<String>,

    /// With --adapter streams: over how many streams the namespaces are spread
    #[arg(long, value_name = "N", default_value_t = 1, global = true, help_heading = "Adapter")]
    streams: u32,

    /// With --adapter streams: about how many entries are kept
    #[arg(long, value_name = "N", default_value_t = 10_000, global = true, help_heading = "Adapter")]
    max_len: usize,
}

/// `subscriptionMode`
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Static,
    #[default]
    Dynamic,
    DynamicPrivate,
}

/// An emitter for servers with the adapter of the settings.
pub(crate) fn choose(builder: Builder, settings: &Settings) -> Builder {
    let options = &settings.family;
    match settings.adapter {
        Adapter::Pubsub => builder,
        Adapter::Sharded => builder.sharded(match options.mode {
            Mode::Static => SubscriptionMode::Static,
            Mode::Dynamic => SubscriptionMode::Dynamic,
            Mode::DynamicPrivate => SubscriptionMode::DynamicPrivate,
        }),
        Adapter::Streams => builder
            .stream_name(options.stream.as_ref().unwrap_or(&settings.key))
            .stream_count(options.streams)
            .max_len(options.max_len),
    }
}

/// The channel that all servers are subscribed to.
pub(crate) fn servers_channel(settings: &Settings) -> String {
    let channels = Channels::new(&settings.key, &settings.nsp);
    match settings.adapter {
        Adapter::Pubsub => channels.request().to_owned(),
        Adapter::Sharded | Adapter::Streams => channels.all().to_owned(),
    }
}

/// Whether rooms have sharded channels of their own.
pub(crate) fn rooms_have_channels(settings: &Settings) -> bool {
    settings.adapter == Adapter::Sharded && settings.family.mode != Mode::Static
}

/// The streams that servers read: that of the namespace, or of all of them.
pub(crate) fn streams(settings: &Settings, all: bool) -> Vec<String> {
    let name = settings.family.stream.as_ref().unwrap_or(&settings.key);
    match all {
        true => streams::all_streams(name, settings.family.streams),
        false => vec![streams::stream_of(name, settings.family.streams, &settings.nsp)],
    }
}

/// The adapter by its name.
pub(crate) fn name(settings: &Settings) -> &'static str {
    match settings.adapter {
        Adapter::Pubsub => "pubsub",
        Adapter::Sharded => "sharded",
        Adapter::Streams => "streams",
    }
}
