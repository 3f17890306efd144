//! One update of a job: what its sender says, checked.

use super::{JobStatus, Standing};
use contract::{FieldError, JobId, UnixMillis, id::IdempotencyKey, json};
use serde_json::{Map, Value};
use strum::VariantNames;

/// The longest `error_message`, in characters.
pub const ERROR_LEN_MAX: usize = 2_000;

/// An update that can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUpdate {
    /// The job, as its sender names it.
    pub job: JobId,
    /// Its status, time and digest.
    pub standing: Standing,
    /// In per cent; None of one that has failed.
    pub progress: Option<u8>,
    /// What a job has made that is completed: the JSON text of an object.
    pub result: Option<String>,
    /// Why a job has failed.
    pub error: Option<String>,
}

impl JobUpdate {
    /// Reads a body. Members that are not known are left out.
    ///
    /// # Errors
    /// The rules that are broken, without values.
    pub fn read(body: &[u8], digest: IdempotencyKey) -> Result<Self, Vec<FieldError>> {
        let body = match json::parse(body) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err(vec![broken("", "wrong_type", "the body is not an object")]),
            Err(_) => {
                let message = "the body is no JSON that can be read";
                return Err(vec![broken("", "invalid_json", message)]);
            }
        };
        let mut errors = Vec::new();
        let job = keep(job(&body), &mut errors);
        let at = keep(timestamp(&body), &mut errors);
        let status = keep(status(&body), &mut errors);
        let content = status.and_then(|status| keep(Content::of(status, &body), &mut errors));
        match (job, at, status, content) {
            (Some(job), Some(at), Some(status), Some(content)) => Ok(Self {
                job,
                standing: Standing { status, at, digest },
                progress: content.progress,
                result: content.result,
                error: content.error,
            }),
            _ => Err(errors),
        }
    }
}

/// What an update says beside its job, time and status.
struct Content {
    progress: Option<u8>,
    result: Option<String>,
    error: Option<String>,
}

impl Content {
    fn of(status: JobStatus, body: &Map<String, Value>) -> Result<Self, FieldError> {
        let mut content = Self {
            progress: status.progress(),
            result: None,
            error: None,
        };
        if status == JobStatus::Failed {
            content.error = Some(error(body)?);
            return Ok(content);
        }
        let data = match body.get("data") {
            None | Some(Value::Null) if status.is_terminal() => {
                return Err(broken("/data", "required", "a job that is completed has data"));
            }
            None | Some(Value::Null) => return Ok(content),
            Some(Value::Object(data)) => data,
            Some(_) => return Err(broken("/data", "wrong_type", "it must be an object")),
        };
        if status.is_terminal() {
            content.result = Some(serde_json::to_string(data).expect("it was read from JSON"));
        } else if let Some(progress) = data.get("progress").and_then(Value::as_u64) {
            // Only a number of per cent is taken for one: others count theirs otherwise.
            let progress = u8::try_from(progress).ok().filter(|progress| *progress <= 100);
            content.progress = progress.or(content.progress);
        }
        Ok(content)
    }
}

fn job(body: &Map<String, Value>) -> Result<JobId, FieldError> {
    let job = text(body, "job_id")?;
    job.parse().map_err(|_| {
        let message = "it must be 1 to 64 letters, digits, - and _";
        broken("/job_id", "invalid", message)
    })
}

fn status(body: &Map<String, Value>) -> Result<JobStatus, FieldError> {
    text(body, "status")?.parse().map_err(|_| {
        let message = format!("it must be one of {}", JobStatus::VARIANTS.join(", "));
        broken("/status", "unknown_value", &message)
    })
}

fn timestamp(body: &Map<String, Value>) -> Result<UnixMillis, FieldError> {
    let at = match body.get("timestamp") {
        None | Some(Value::Null) => return Err(required("timestamp")),
        Some(Value::String(text)) => UnixMillis::from_foreign_text(text),
        Some(Value::Number(number)) => number.as_i64().and_then(UnixMillis::from_foreign_number),
        Some(_) => None,
    };
    at.ok_or_else(|| {
        let message = "it must be an instant: RFC 3339, or Unix seconds or milliseconds";
        broken("/timestamp", "invalid", message)
    })
}

fn error(body: &Map<String, Value>) -> Result<String, FieldError> {
    let error = text(body, "error_message")?;
    if (1..=ERROR_LEN_MAX).contains(&error.chars().count()) {
        return Ok(error.to_owned());
    }
    let message = format!("it must be 1 to {ERROR_LEN_MAX} characters long");
    Err(broken("/error_message", "length", &message))
}

fn text<'b>(body: &'b Map<String, Value>, name: &str) -> Result<&'b str, FieldError> {
    match body.get(name) {
        None | Some(Value::Null) => Err(required(name)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(broken(&format!("/{name}"), "wrong_type", "it must be a text")),
    }
}

fn required(name: &str) -> FieldError {
    broken(&format!("/{name}"), "required", "it is required")
}

fn broken(pointer: &str, code: &str, message: &str) -> FieldError {
    FieldError::new(pointer, code, message)
}

/// What was read, or None, and one more error.
fn keep<T>(read: Result<T, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
    read.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<JobUpdate, Vec<FieldError>> {
        JobUpdate::read(body.to_string().as_bytes(), "body_1".parse().unwrap())
    }

    #[test]
    fn an_update_says_what_its_status_asks_for() {
        let body = json!({"job_id": "j-1", "status": "completed", "timestamp": "2025-11-22T00:00:00Z", "more": 1,
            "data": {"images": ["a"], "n": 1.0}});
        let update = read(&body).unwrap();
        assert_eq!((update.job.as_str(), update.progress), ("j-1", Some(100)));
        assert_eq!(update.standing.at, UnixMillis(1_763_769_600_000));
        assert_eq!(update.result.as_deref(), Some(r#"{"images":["a"],"n":1.0}"#));
        let body =
            json!({"job_id": "j", "status": "failed", "timestamp": 1_763_769_600, "error_message": "no"});
        let failed = read(&body).unwrap();
        assert_eq!(
            (failed.progress, failed.error.as_deref(), failed.result),
            (None, Some("no"), None)
        );
        for (data, progress) in [
            (json!({"progress": 42}), 42),
            (json!({"progress": 101}), 50),
            (json!({"progress": 0.5}), 50),
            (json!(null), 50),
        ] {
            let body = json!({"job_id": "j", "status": "generating", "timestamp": 1_763_769_600_000_u64, "data": data});
            let update = read(&body).unwrap();
            assert_eq!((update.progress, update.result), (Some(progress), None), "{data}");
        }
    }

    #[test]
    fn what_is_no_update_is_refused_with_every_reason() {
        let reasons = |body: &Value| -> Vec<(String, String)> {
            let errors = read(body).unwrap_err();
            let pairs = errors.into_iter().map(|error| (error.pointer, error.code));
            pairs.collect()
        };
        let good =
            json!({"job_id": "j", "status": "failed", "timestamp": 1_763_769_600, "error_message": "no"});
        for (name, value, code) in [
            ("job_id", json!("a b"), "invalid"),
            ("job_id", json!(7), "wrong_type"),
            ("status", json!("done"), "unknown_value"),
            ("timestamp", json!("yesterday"), "invalid"),
            ("timestamp", json!(1.5), "invalid"),
            ("timestamp", json!(true), "invalid"),
            ("error_message", json!(""), "length"),
            ("error_message", json!("x".repeat(ERROR_LEN_MAX + 1)), "length"),
            ("error_message", json!(null), "required"),
        ] {
            let mut body = good.clone();
            body[name] = value;
            assert_eq!(reasons(&body), [(format!("/{name}"), code.to_owned())], "{body}");
        }
        let completed = json!({"job_id": "j", "status": "completed", "timestamp": 1_763_769_600, "data": []});
        assert_eq!(
            reasons(&completed),
            [("/data".to_owned(), "wrong_type".to_owned())]
        );
        let missing: Vec<_> = ["job_id", "timestamp", "status"]
            .map(|name| (format!("/{name}"), "required".to_owned()))
            .into();
        assert_eq!(reasons(&json!({})), missing);
        assert_eq!(reasons(&json!([])), [(String::new(), "wrong_type".to_owned())]);
        let errors = JobUpdate::read(b"{", "body_1".parse().unwrap()).unwrap_err();
        assert_eq!(errors[0].code, "invalid_json");
    }
}
