//! What a load has shown.

use super::generator::Load;
use grid_core::error::{Error, Kind, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
        .map_err(|e| Error::with(Kind::Internal, e.to_string()))
}

/// Latencies of one kind of request. Equal ones in a row are recorded together.
struct Latencies {
    histogram: Histogram<u64>,
    last_ns: u64,
    count: u64,
}

impl Latencies {
    #[inline]
    fn record(&mut self, ns: u64) {
        if ns != self.last_ns {
            self.flush();
            self.last_ns = ns;
        }
        self.count += 1;
    }

    fn flush(&mut self) {
        self.histogram.saturating_record_n(self.last_ns, self.count);
        self.count = 0;
    }
}

/// What one thread has counted.
pub(super) struct Tally {
    reads: Latencies,
    writes: Latencies,
    pub(super) missing: u64,
    pub(super) unsent: u64,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        let latencies =
            || Ok::<_, Error>(Latencies { histogram: histogram()?, last_ns: 0, count: 0 });
        Ok(Tally {
            reads: latencies()?,
            writes: latencies()?,
            missing: 0,
            unsent: 0,
            errors: BTreeMap::new(),
        })
    }

    #[inline]
    pub(super) fn record(&mut self, read: bool, ns: u64) {
        if read { self.reads.record(ns) } else { self.writes.record(ns) }
    }

    #[cold]
    pub(super) fn fail(&mut self, error: String) {
        *self.errors.entry(error).or_default() += 1;
    }
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the requests were not slower.
    pub p50: f64,
    /// 99 of 100 were not slower.
    pub p99: f64,
    /// 999 of 1000 were not slower.
    pub p999: f64,
    /// None was slower.
    pub max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let us = |ns: u64| ns as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Latency {
            p50: us(histogram.value_at_quantile(0.5)),
            p99: us(histogram.value_at_quantile(0.99)),
            p999: us(histogram.value_at_quantile(0.999)),
            max: us(histogram.max()),
        })
    }
}

/// What a load has shown: the requests that were answered within the measured time.
#[derive(Clone, Debug)]
pub struct Measured {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    measured: Duration,
    fill_time: Option<Duration>,
    fill_keys: u64,
    server_cpu: Option<Duration>,
    own_cpu: Option<Duration>,
    /// Processes on this machine that listen on the addresses.
    pub server_pids: Vec<u32>,
    /// Gets of keys without a value.
    pub missing: u64,
    /// Requests that were due but not sent, because as many as allowed waited already.
    pub unsent: u64,
    /// Failed requests by kind.
    pub errors: BTreeMap<String, u64>,
}

impl Measured {
    pub(super) fn new(
        load: &Load,
        fill_time: Option<Duration>,
        server_cpu: Option<Duration>,
        own_cpu: Option<Duration>,
        servers: &[u32],
    ) -> Result<Self> {
        Ok(Measured {
            reads: histogram()?,
            writes: histogram()?,
            measured: load.measure,
            fill_time,
            fill_keys: load.keys,
            server_cpu,
            own_cpu,
            server_pids: servers.to_vec(),
            missing: 0,
            unsent: 0,
            errors: BTreeMap::new(),
        })
    }

    pub(super) fn add(&mut self, tally: &mut Tally) -> Result<()> {
        for (sum, part) in
            [(&mut self.reads, &mut tally.reads), (&mut self.writes, &mut tally.writes)]
        {
            part.flush();
            sum.add(&part.histogram).map_err(|e| Error::with(Kind::Internal, e.to_string()))?;
        }
        self.missing += tally.missing;
        self.unsent += tally.unsent;
        for (kind, count) in &tally.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        Ok(())
    }

    /// Requests that succeeded.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests that succeeded per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.operations() as f64 / self.measured.as_secs_f64()
    }

    /// Latency of gets; none if there were none.
    #[must_use]
    pub fn reads(&self) -> Option<Latency> {
        Latency::of(&self.reads)
    }

    /// Latency of sets; none if there were none.
    #[must_use]
    pub fn writes(&self) -> Option<Latency> {
        Latency::of(&self.writes)
    }

    /// Microseconds of CPU time of the servers per request, if they run on this machine.
    #[must_use]
    pub fn server_cpu_us(&self) -> Option<f64> {
        self.per_operation(self.server_cpu)
    }

    /// Microseconds of CPU time of this process per request.
    #[must_use]
    pub fn own_cpu_us(&self) -> Option<f64> {
        self.per_operation(self.own_cpu)
    }

    fn per_operation(&self, used: Option<Duration>) -> Option<f64> {
        let operations = self.operations();
        (operations > 0).then_some(used?.as_secs_f64() * 1e6 / operations as f64)
    }

    /// Keys written per second before the measurement.
    #[must_use]
    pub fn fill_per_second(&self) -> Option<f64> {
        Some(self.fill_keys as f64 / self.fill_time?.as_secs_f64())
    }
}

/// What [`super::map::run`] reports: the load and what it has shown.
#[derive(Clone, Debug, Serialize)]
pub struct MapReport {
    /// Where the members listen.
    pub addresses: Vec<String>,
    /// `raw` frames or `typed` handles.
    pub client: &'static str,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub pipeline: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Distinct keys.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Gets among 100 requests.
    pub reads_percent: u8,
    /// Requests per second asked for; none: as fast as replies came.
    pub rate: Option<f64>,
    /// Measured time, in seconds.
    pub seconds: f64,
    /// Requests that succeeded in that time.
    pub operations: u64,
    /// The same per second.
    pub operations_per_second: f64,
    /// Latency of gets, in microseconds.
    pub get_us: Option<Latency>,
    /// Latency of sets, in microseconds.
    pub set_us: Option<Latency>,
    /// Keys written per second before the measurement.
    pub load_per_second: Option<f64>,
    /// Gets of keys without a value.
    pub missing: u64,
    /// Requests that were due but never sent.
    pub unsent: u64,
    /// Failed requests by kind.
    pub errors: BTreeMap<String, u64>,
    /// Processes on this machine that were measured.
    pub server_pids: Vec<u32>,
    /// Their CPU time per request, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// CPU time of this process per request, in microseconds.
    pub client_cpu_us: Option<f64>,
}

impl MapReport {
    pub(super) fn new(load: &Load, client: &'static str, measured: Measured) -> Self {
        MapReport {
            addresses: load.addresses.iter().map(ToString::to_string).collect(),
            client,
            connections: load.connections,
            pipeline: load.pipeline,
            threads: load.threads,
            keys: load.keys,
            value_bytes: load.value_bytes,
            reads_percent: load.reads_percent,
            rate: load.rate,
            seconds: load.measure.as_secs_f64(),
            operations: measured.operations(),
            operations_per_second: measured.per_second(),
            get_us: measured.reads(),
            set_us: measured.writes(),
            load_per_second: measured.fill_per_second(),
            missing: measured.missing,
            unsent: measured.unsent,
            server_cpu_us: measured.server_cpu_us(),
            client_cpu_us: measured.own_cpu_us(),
            errors: measured.errors,
            server_pids: measured.server_pids,
        }
    }
}

impl fmt::Display for MapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} connections x {} deep, {} threads, {} client; {} keys, {} byte values, {} % gets, {} s",
            self.connections,
            self.pipeline,
            self.threads,
            self.client,
            self.keys,
            self.value_bytes,
            self.reads_percent,
            self.seconds
        )?;
        if let Some(rate) = self.load_per_second {
            writeln!(f, "{:<12}{rate:>14.0} keys/s", "loaded")?;
        }
        writeln!(f, "{:<12}{:>14.0} operations/s", "throughput", self.operations_per_second)?;
        if let Some(rate) = self.rate {
            writeln!(
                f,
                "{:<12}{rate:>14.0} operations/s; {} were due but not sent",
                "asked for", self.unsent
            )?;
        }
        for (name, latency) in [("get", self.get_us), ("set", self.set_us)] {
            if let Some(l) = latency {
                let (p50, p99, p999, max) = (l.p50, l.p99, l.p999, l.max);
                writeln!(
                    f,
                    "{name:<12}p50 {p50:>10.1}  p99 {p99:>10.1}  p99.9 {p999:>10.1}  max {max:>10.1} us"
                )?;
            }
        }
        for (name, cpu) in [("server CPU", self.server_cpu_us), ("client CPU", self.client_cpu_us)]
        {
            match cpu {
                Some(cpu) => writeln!(f, "{name:<12}{cpu:>14.3} us per operation")?,
                None => writeln!(f, "{name:<12}{:>14}", "not known")?,
            }
        }
        if self.missing > 0 {
            writeln!(f, "{:<12}{:>14} gets of keys without a value", "missing", self.missing)?;
        }
        let failed: u64 = self.errors.values().sum();
        write!(f, "{:<12}{failed:>14}", "errors")?;
        for (kind, count) in &self.errors {
            write!(f, "\n{:>26} {kind}", count)?;
        }
        Ok(())
    }
}
