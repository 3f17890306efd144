//! A gauge whose value is read at each scrape.

use prometheus::{
    Opts,
    core::{Collector, Desc, Describer},
    proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

pub(super) struct Reading {
    desc: Desc,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Reading {
    pub fn new(opts: &Opts, read: Box<dyn Fn() -> f64 + Send + Sync>) -> prometheus::Result<Self> {
        let desc = opts.describe()?;
        Ok(Self { desc, read })
    }
}

impl Collector for Reading {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut gauge = Gauge::default();
        gauge.set_value((self.read)());
        let labels: Vec<LabelPair> = self.desc.const_label_pairs.clone();
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
