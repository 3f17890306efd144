//! Memory and open files of the process, from Linux's /proc; missing on other systems.

use super::Metrics;
use std::fs;

const STATUS: &str = "/proc/self/status";
const OPEN_FILES: &str = "/proc/self/fd";

pub(super) fn expose(metrics: &Metrics) {
    if resident_bytes().is_some() {
        let help = "Memory of the process that is in RAM.";
        metrics.read_gauge("process_resident_memory_bytes", help, &[], || {
            resident_bytes().unwrap_or(f64::NAN)
        });
    }
    if open_files().is_some() {
        let help = "Open files of the process, connections included.";
        metrics.read_gauge("process_open_fds", help, &[], || open_files().unwrap_or(f64::NAN));
    }
}

fn resident_bytes() -> Option<f64> {
    parse_resident(&fs::read_to_string(STATUS).ok()?)
}

/// The line `VmRSS:     1234 kB`, whose kB are 1,024 bytes.
fn parse_resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let files = u32::try_from(fs::read_dir(OPEN_FILES).ok()?.count()).ok()?;
    Some(f64::from(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  9000 kB\nVmRSS:\t  2048 kB\nThreads:\t1\n";
        assert_eq!(parse_resident(status), Some(2_097_152.0));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }
}
