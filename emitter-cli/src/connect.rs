//! Reaching Redis in time.

use std::time::{Duration, Instant};

use socketio_emitter::{EmitError, Emitter};

use crate::{args::Settings, failure::Failure, output};

/// How much time and how many attempts are left to a command.
pub(crate) struct Patience {
    deadline: Instant,
    retries: u32,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(settings: &Settings) -> Patience {
        let deadline = Instant::now() + settings.timeout;
        Patience { deadline, retries: settings.retries, pause: Duration::from_millis(100) }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before another attempt, longer each time. `false` when there is none.
    pub(crate) async fn again(&mut self, after: &EmitError) -> bool {
        if !after.is_transient() || self.retries == 0 || self.pause >= self.left() {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.retries -= 1;
        self.pause = (self.pause * 2).min(Duration::from_secs(1));
        true
    }
}

/// Connects; tries again as often and as long as may be.
pub(crate) async fn connect(settings: &Settings, patience: &mut Patience) -> Result<Emitter, Failure> {
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let builder = Emitter::builder(&settings.url).key(&settings.key).timeout(patience.left());
        let error = match builder.connect().await {
            Ok(emitter) => {
                if settings.verbose > 0 {
                    let took = started.elapsed().as_secs_f64() * 1_000.0;
                    output::detail(format!("connected to {} in {took:.1} ms", emitter.address()));
                }
                return Ok(emitter);
            }
            Err(error) => error,
        };
        if settings.verbose > 0 {
            output::detail(format!("attempt {attempts}: {error}"));
        }
        if !patience.again(&error).await {
            let took = output::duration(started.elapsed());
            let mut failure = Failure::from(error);
            if attempts > 1 {
                failure.cause = failure.cause.map(|cause| format!("{cause} (tried {attempts} times in {took})"));
            }
            return Err(failure);
        }
    }
}
