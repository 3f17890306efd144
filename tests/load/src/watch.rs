//! Looks at a service from outside while it is under load: its memory and its processor time.
//!
//! Both are read from `/proc`, which costs the service nothing.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// What a service may have resident under any attack, flood or overload, in MiB.
pub const RESIDENT_MIB_MAX: f64 = 192.0;
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The most looks of one run; a longer one is not looked at any further.
const LOOKS_MAX: usize = 4 * 3_600;
/// What is written to `/proc/<process>/clear_refs` (proc(5)).
const FORGET_PEAK: &str = "5";
/// Ticks of processor time in a second, as Linux counts them for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process over a run, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Before the load.
    pub start: f64,
    /// The mean of the run's first third.
    pub first_third: f64,
    /// The mean of its last third.
    pub last_third: f64,
    /// The most that it ever had.
    pub peak: f64,
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "resident {:.0} MiB before, {:.0} in the first third, {:.0} in the last, {:.0} at most",
            self.start, self.first_third, self.last_third, self.peak
        )
    }
}

/// What is wrong with so many MiB; nothing when they are allowed.
pub fn too_large(who: &str, peak: f64) -> Option<String> {
    (peak >= RESIDENT_MIB_MAX)
        .then(|| format!("{who}: {peak:.0} MiB resident, and {RESIDENT_MIB_MAX} are allowed"))
}

/// The looks of one run.
pub struct Watching {
    process: u32,
    done: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Vec<f64>>,
    start: f64,
    cpu_start: f64,
}

impl Watching {
    /// Begins to look at a process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn begin(process: u32) -> Result<Self> {
        let (done, ending) = watch::channel(false);
        Ok(Self {
            process,
            done,
            start: resident(process, "VmRSS")?,
            cpu_start: cpu_seconds(process)?,
            task: tokio::spawn(look(process, ending)),
        })
    }

    /// What was seen, and the seconds of processor time that it used meanwhile.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn end(self) -> Result<(Memory, f64)> {
        let cpu = cpu_seconds(self.process)? - self.cpu_start;
        self.done.send_replace(true);
        let looks = self.task.await?;
        let third = looks.len().div_ceil(3);
        let memory = Memory {
            start: self.start,
            first_third: mean(&looks[..third]),
            last_third: mean(&looks[looks.len() - third..]),
            peak: resident(self.process, "VmHWM")?,
        };
        Ok((memory, cpu))
    }
}

async fn look(process: u32, mut ending: watch::Receiver<bool>) -> Vec<f64> {
    let mut looks = Vec::new();
    let mut next = Instant::now();
    while looks.len() < LOOKS_MAX {
        next += LOOK_EVERY;
        if timeout_at(next, ending.wait_for(|done| *done)).await.is_ok() {
            return looks;
        }
        sleep_until(next).await;
        match resident(process, "VmRSS") {
            Ok(now) => looks.push(now),
            Err(_) => return looks,
        }
    }
    looks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Has a process forget the most that it ever had resident: its peak counts from now on.
///
/// # Errors
/// When it is gone, or the system does not let us.
pub fn forget_peak(process: u32) -> Result<()> {
    std::fs::write(format!("/proc/{process}/clear_refs"), FORGET_PEAK).context("clear_refs")
}

/// A field of `/proc/<process>/status` in MiB.
///
/// # Errors
/// When the process has ended.
pub fn resident(process: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line
        .context("the field is there")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1024.0)
}

/// Seconds of processor time that a process has used, in and below itself.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold anything.
    let fields = stat.rsplit_once(')').context("a name in brackets")?.1;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_can_be_forgotten() {
        forget_peak(std::process::id()).unwrap();
        assert!(forget_peak(u32::MAX).is_err());
    }

    #[tokio::test]
    async fn it_sees_this_very_process() {
        let watching = Watching::begin(std::process::id()).unwrap();
        let mut block = vec![1_u8; 64 << 20];
        block.iter_mut().step_by(4096).for_each(|byte| *byte += 1);
        let (memory, cpu) = watching.end().await.unwrap();
        assert!(
            memory.start > 1.0 && memory.peak >= 64.0,
            "{memory:?} {}",
            block.len()
        );
        assert!((0.0..60.0).contains(&cpu));
        assert!(resident(std::process::id(), "VmNothing").is_err());
    }
}
