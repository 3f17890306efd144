use super::*;
use std::sync::atomic::AtomicBool;

#[tokio::test]
async fn what_is_counted_and_what_is_read_stand_under_the_prefix() {
    let metrics = Metrics::new("svc", "1.2.3");
    let help = "Things done.";
    let good = metrics.counter("things_total", help, &[("how", "well")]);
    metrics.counter("things_total", help, &[("how", "badly")]);
    good.inc();
    metrics.read_gauge("waiting_entries", "Entries.", &[], || 2.5);
    let took = metrics.histogram("took_seconds", "Time.", &[("of", "it")], &[0.1, 1.0]);
    took.observe(0.5);
    let text = metrics.scrape().await;
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("svc_process_"))
        .collect();
    assert_eq!(
        ours,
        [
            "# HELP svc_build_info Always 1; the label says which version runs.",
            "# TYPE svc_build_info gauge",
            "svc_build_info{version=\"1.2.3\"} 1",
            "# HELP svc_things_total Things done.",
            "# TYPE svc_things_total counter",
            "svc_things_total{how=\"badly\"} 0",
            "svc_things_total{how=\"well\"} 1",
            "# HELP svc_took_seconds Time.",
            "# TYPE svc_took_seconds histogram",
            "svc_took_seconds_bucket{of=\"it\",le=\"0.1\"} 0",
            "svc_took_seconds_bucket{of=\"it\",le=\"1\"} 1",
            "svc_took_seconds_bucket{of=\"it\",le=\"+Inf\"} 1",
            "svc_took_seconds_sum{of=\"it\"} 0.5",
            "svc_took_seconds_count{of=\"it\"} 1",
            "# HELP svc_waiting_entries Entries.",
            "# TYPE svc_waiting_entries gauge",
            "svc_waiting_entries 2.5",
        ]
    );
}

#[tokio::test]
async fn what_nobody_can_tell_is_no_number() {
    let mut metrics = Metrics::new("svc", "1");
    let answers = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&answers);
    metrics.ask_gauge("pending_rows", "Rows.", move || {
        let answer = asked.load(Ordering::Relaxed).then_some(3);
        async move { answer }
    });
    assert!(metrics.scrape().await.contains("\nsvc_pending_rows 3\n"));
    answers.store(false, Ordering::Relaxed);
    assert!(metrics.scrape().await.contains("\nsvc_pending_rows NaN\n"));
}

#[test]
#[should_panic(expected = "stands once")]
fn a_name_that_stands_twice_is_a_mistake() {
    let metrics = Metrics::new("svc", "1");
    metrics.counter("things_total", "Things.", &[]);
    metrics.counter("things_total", "Things.", &[]);
}
