//! Logs: events of lower case with fields, as text or JSON, on standard error.
//!
//! Standard output is reserved for the output of commands. The access log is one line per request, written by
//! [`api::Server`]; its ids are fields of the span around the handler, so every line in between carries them.

use crate::config::{ConfigError, LogArgs, LogFormat, warn_of_env_file};
use std::{io::stderr, panic::PanicHookInfo};
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter, layer::SubscriberExt, registry};

/// Starts logging for the whole process, panics included: with their place, without their message, which may quote
/// data. A second call in one process changes nothing, so that tests may run both services in one.
///
/// # Errors
/// When `LOG_LEVEL` cannot be read.
pub fn init(args: &LogArgs) -> Result<(), ConfigError> {
    let subscriber = subscriber(args, stderr)?;
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    warn_of_env_file();
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.place = place, "panic");
}

fn subscriber<W>(args: &LogArgs, writer: W) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, ConfigError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|_| ConfigError::new("LOG_LEVEL", "it must be a level, or a list of target=level"))?;
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    Ok(match args.log_format {
        LogFormat::Text => Box::new(registry().with(filter).with(lines)),
        LogFormat::Json => {
            let lines = lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false);
            Box::new(registry().with(filter).with(lines))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log_level: &str, log_format: LogFormat) -> String {
        logged_of(log_level, log_format, || {
            let span = tracing::info_span!("request", request.id = "req_1");
            let _inside = span.enter();
            tracing::info!(event.id = "evt_1", attempt = 2, "delivered");
            tracing::debug!("details");
        })
    }

    fn logged_of(log_level: &str, log_format: LogFormat, work: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let args = LogArgs {
            log_level: log_level.to_owned(),
            log_format,
        };
        let subscriber = subscriber(&args, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_their_own_fields_and_the_request() {
        let line: serde_json::Value = serde_json::from_str(&logged("info", LogFormat::Json)).unwrap();
        assert_eq!(line["message"], "delivered");
        assert_eq!(line["event.id"], "evt_1");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["span"]["request.id"], "req_1");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_level_decides_what_is_logged() {
        assert_eq!(logged("info", LogFormat::Text).lines().count(), 1);
        assert_eq!(logged("debug", LogFormat::Text).lines().count(), 2);
        assert_eq!(logged("error", LogFormat::Text), "");
    }

    #[test]
    fn r39_a_panics_message_is_not_logged() {
        let said = logged_of("trace", LogFormat::Text, || {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let panicked = std::panic::catch_unwind(|| panic!("the canary of {}", "guests"));
            std::panic::set_hook(usual);
            assert!(panicked.is_err());
        });
        assert!(
            said.contains("panic.place") && said.contains("telemetry.rs"),
            "{said}"
        );
        assert!(!said.contains("canary") && !said.contains("guests"), "{said}");
    }
}
