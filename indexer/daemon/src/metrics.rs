//! The daemon in the words of Prometheus: a status and the engine's counters as samples, made when asked for. Holds no
//! numbers of its own. The number of series is bounded by the roots, and by [`MOST_CONSUMERS`].

use std::collections::BTreeMap;
use std::fmt;

use alert::Report;
use index::{COMMIT_BUCKETS_MS, Counted, RECORD_WORDS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use record::Time;

use crate::consumers::Consumers;
use crate::engine::status::{RootStatus, Status};
use crate::engine::{Done, Engine};
use crate::render::quoted;

/// What the answer is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Consumers with series of their own: those that are furthest behind.
const MOST_CONSUMERS: usize = 200;

/// States of the daemon; exactly one of them is 1.
const STATES: [&str; 8] =
    ["starting", "seeding", "sweeping", "live", "degraded", "stopping", "stopped", "other"];

/// States of a root; exactly one of them is 1.
const ROOT_STATES: [&str; 8] =
    ["starting", "seeding", "sweeping", "live", "repairing", "lost", "unwatched", "other"];

/// The metrics of a running engine and its consumers.
///
/// # Errors
/// Never: writing to memory does not fail.
pub(crate) fn of(engine: &Engine, consumers: &Consumers) -> Result<String, fmt::Error> {
    let (done, counted) = engine.done();
    let mut status = engine.status();
    consumers.show(&mut status);
    let shot = Shot { status, done, counted, stalled_s: engine.stalled_for().as_secs_f64() };
    text(shot)
}

fn text(shot: Shot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("indexer");
    registry.register_collector(Box::new(shot));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Everything that is shown, at one moment.
#[derive(Debug)]
struct Shot {
    status: Status,
    done: Done,
    counted: Counted,
    stalled_s: f64,
}

impl Collector for Shot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families { encoder };
        self.of_daemon(&mut out)?;
        self.of_engine(&mut out)?;
        self.of_audit(&mut out)?;
        self.of_roots(&mut out)?;
        self.of_consumers(&mut out)?;
        self.of_hashing(&mut out)?;
        self.of_relay(&mut out)?;
        self.of_alerts(&mut out)
    }
}

/// Writes families of samples; a label is a name and a value.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Families<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A gauge for each of `samples`: its labels and its value.
    fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = ([(&'static str, &'l str); N], V)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = ((&'static str, &'l str), u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in samples {
            let labels = [label];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

/// Gauges are signed in the exposition; nothing of ours comes near the bound.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The one of `states` that `state` is.
fn known(states: &[&'static str], state: &str) -> &'static str {
    states.iter().find(|known| **known == state).copied().unwrap_or("other")
}

fn name_of(root: &RootStatus) -> String {
    let bytes = record::wire::v1::bytes_of(&root.path, root.path_raw.as_deref());
    bytes.map_or_else(|_| root.path.clone(), |bytes| quoted(&bytes).into_owned())
}

impl Shot {
    fn of_daemon(&self, out: &mut Families<'_>) -> fmt::Result {
        let status = &self.status;
        let build = [([("version", &*status.version)], 1i64)];
        out.gauges("build_info", "Always 1; the labels tell the version", build.into_iter())?;
        out.gauge("uptime_seconds", "Seconds since the daemon started", signed(status.uptime_s))?;
        let state = known(&STATES, &status.state);
        let states = STATES.iter().map(|one| ([("state", *one)], i64::from(*one == state)));
        out.gauges("state", "1 for the state that the daemon is in", states)?;
        let healthy = i64::from(status.problems.is_empty());
        out.gauge("healthy", "1 when coverage is what the configuration asks, as /healthz says", healthy)?;
        let mut problems: BTreeMap<&str, i64> = BTreeMap::new();
        for problem in &status.problems {
            *problems.entry(&problem.code).or_default() += 1;
        }
        let problems = problems.into_iter().map(|(code, count)| ([("code", code)], count));
        out.gauges("problems", "What /healthz lists, by its code", problems)?;
        out.gauge("resident_memory_bytes", "Resident memory of the daemon", signed(status.rss_bytes))?;
        out.gauge("entries", "Rows in the index", signed(status.entries))?;
        out.gauge("index_bytes", "Bytes of the index file", signed(status.index_bytes))?;
        out.gauge("journal_bytes", "Bytes of the records kept", signed(status.journal_bytes))?;
        out.gauge("journal_seq", "Number of the last record", signed(status.seq))?;
        out.gauge("journal_oldest_seq", "Number of the oldest record kept", signed(status.oldest_seq))
    }

    fn of_engine(&self, out: &mut Families<'_>) -> fmt::Result {
        let Shot { status, done, counted, .. } = self;
        let failed = i64::from(status.problems.iter().any(|problem| problem.code == "engine_failed"));
        out.gauge("engine_failed", "1 when the engine ended by itself; the process ends soon after", failed)?;
        out.gauge(
            "engine_stalled_seconds",
            "How long the engine has made no progress with work",
            self.stalled_s,
        )?;
        out.gauge("pending_hints", "Hints that nobody has looked at yet", signed(status.pending))?;
        out.gauge("lag_seconds", "Age of the oldest pending hint", status.lag_ms as f64 / 1000.0)?;
        out.counter("kernel_events", "Kernel events received", status.events)?;
        out.counter("overflows", "Times that hints were lost and a sweep repaired it", status.overflows)?;
        out.gauge("repairs_owed", "Volumes that wait for a sweep after a loss", signed(done.owed))?;
        out.counter("rounds", "Rounds of hints", done.rounds)?;
        out.counter("looks", "Looks at names and directories for hints", done.looks)?;
        out.counter("walked_entries", "Entries met by first scans and sweeps", done.walked)?;
        let records = RECORD_WORDS.iter().zip(counted.records).map(|(op, count)| (("op", *op), count));
        out.counters("records", "Records written since the start, by what they say", records)?;
        self.commits(out)?;
        // While nothing is walked these two have no sample.
        let walk = status.progress.iter();
        out.gauges(
            "walk_progress_ratio",
            "How far the first scan or sweep under way is, from 0 to 1",
            walk.clone()
                .map(|progress| ([("phase", known(&STATES, &status.state))], progress.percent / 100.0)),
        )?;
        out.gauges(
            "walk_directories_left",
            "Directories found by it and not yet listed",
            walk.map(|progress| {
                ([("phase", known(&STATES, &status.state))], signed(progress.directories_left))
            }),
        )
    }

    /// The last 24 hours, so these go down too.
    fn of_audit(&self, out: &mut Families<'_>) -> fmt::Result {
        let audit = &self.status.audit;
        let help = "Directories picked at random and compared with the disk in 24 hours";
        out.gauge("audit_directories", help, signed(audit.directories))?;
        out.gauge("audit_entries", "Entries in them", signed(audit.entries))?;
        out.gauge("audit_missed", "Changes they found that no event had told of", signed(audit.missed))?;
        let help = "How long changes of the last 24 hours took to be in the journal; none without any";
        let quantiles = [("0.5", audit.detection_p50_ms), ("0.99", audit.detection_p99_ms)];
        let quantiles =
            quantiles.into_iter().filter_map(|(word, ms)| Some(([("quantile", word)], ms? / 1000.0)));
        out.gauges("detection_seconds", help, quantiles)
    }

    fn commits(&self, out: &mut Families<'_>) -> fmt::Result {
        let counted = &self.counted;
        let mut bounds: Vec<f64> = COMMIT_BUCKETS_MS.iter().map(|ms| *ms as f64 / 1000.0).collect();
        // The encoder writes this one as `+Inf`.
        bounds.push(f64::INFINITY);
        let buckets: Vec<(f64, u64)> = bounds.into_iter().zip(counted.by_length).collect();
        // Of one moment: a sum of the buckets, not a count that was read a moment before.
        let count = counted.by_length.iter().sum();
        let help = "How long durable transactions took";
        let mut family =
            out.encoder.encode_descriptor("commit_seconds", help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(counted.commit_us as f64 / 1e6, count, &buckets, None)
    }

    fn of_roots(&self, out: &mut Families<'_>) -> fmt::Result {
        let roots: Vec<(String, &RootStatus)> =
            self.status.roots.iter().map(|root| (name_of(root), root)).collect();
        let each = |value: fn(&RootStatus) -> i64| {
            roots.iter().map(move |(name, root)| ([("root", name.as_str())], value(root)))
        };
        out.gauge("roots", "Roots in the index", signed(roots.len() as u64))?;
        out.gauges("root_entries", "Entries in a root", each(|root| signed(root.entries)))?;
        out.gauges("root_bytes", "Sum of sizes in a root", each(|root| signed(root.bytes)))?;
        out.gauges(
            "root_watches",
            "Directories watched one by one, of all roots together",
            each(|root| signed(root.watches)),
        )?;
        let states = roots.iter().flat_map(|(name, root)| {
            let state = known(&ROOT_STATES, &root.state);
            ROOT_STATES
                .iter()
                .map(move |one| ([("root", name.as_str()), ("state", *one)], i64::from(*one == state)))
        });
        out.gauges("root_state", "1 for the state that a root is in", states)?;
        let backends = roots
            .iter()
            .map(|(name, root)| ([("root", name.as_str()), ("backend", root.backend.as_str())], 1i64));
        out.gauges("root_backend_info", "Always 1; the labels tell how a root is watched", backends)?;
        let coverage = roots.iter().flat_map(|(name, root)| {
            let coverage = &root.coverage;
            let counts = [
                ("watched", coverage.watched),
                ("swept", coverage.swept),
                ("unverified", coverage.unverified),
                ("blind", coverage.blind.max(root.blind)),
            ];
            counts.map(|(how, count)| ([("root", name.as_str()), ("coverage", how)], signed(count)))
        });
        out.gauges("root_directories", "Directories of a root by how they are kept true", coverage)?;
        let now = Time::now().0;
        let verified = roots.iter().filter_map(|(name, root)| {
            let age = now.saturating_sub(root.verified_ns?).max(0);
            Some(([("root", name.as_str())], age as f64 / 1e9))
        });
        let help = "Since when all of a root was not known to be true; none while that was never so";
        out.gauges("root_verified_age_seconds", help, verified)
    }

    fn of_consumers(&self, out: &mut Families<'_>) -> fmt::Result {
        let mut consumers: Vec<_> = self.status.consumers.iter().collect();
        out.gauge("consumers", "Consumers with a cursor", signed(consumers.len() as u64))?;
        consumers.sort_by(|a, b| b.lag.cmp(&a.lag).then_with(|| a.name.cmp(&b.name)));
        consumers.truncate(MOST_CONSUMERS);
        let lags = consumers.iter().map(|one| ([("consumer", one.name.as_str())], signed(one.lag)));
        out.gauges("consumer_lag_records", "Records that a consumer has yet to see", lags)
    }

    /// Nothing without rules. Their number is bounded, and so are their names.
    fn of_hashing(&self, out: &mut Families<'_>) -> fmt::Result {
        let Some(hashing) = &self.status.hashing else { return Ok(()) };
        out.gauge("hashed_files", "Files whose digest is known", signed(hashing.hashed))?;
        out.gauge("hash_waiting_files", "Files that changed and wait to be read", signed(hashing.waiting))?;
        out.gauge("hash_left_files", "Other files that may have to be read", signed(hashing.files_left))?;
        out.gauge(
            "hash_left_bytes",
            "Bytes of other files that may have to be read",
            signed(hashing.bytes_left),
        )?;
        out.counter("hash_read_files", "Files read", hashing.files_read)?;
        out.counter("hash_read_bytes", "Bytes read of contents", hashing.bytes_read)?;
        out.gauge(
            "rotten_files",
            "Files whose contents changed though nobody wrote them",
            signed(hashing.rotten),
        )?;
        out.counter("hash_refused", "Times that a file could not be read", hashing.refused)
    }

    /// Nothing without a broker.
    fn of_relay(&self, out: &mut Families<'_>) -> fmt::Result {
        if let Some(snapshots) = &self.status.snapshots {
            let last = snapshots.last_us.unwrap_or(0) / 1_000_000;
            out.gauge(
                "snapshots_last_timestamp_seconds",
                "When the last snapshot was written, 0 for never",
                last,
            )?;
            let failing = i64::from(snapshots.trouble.is_some());
            out.gauge("snapshots_failing", "1 when the last run wrote none", failing)?;
        }
        let Some(amqp) = &self.status.amqp else { return Ok(()) };
        out.gauge(
            "amqp_publishing",
            "1 while records go to the broker",
            i64::from(amqp.state == "publishing"),
        )?;
        out.gauge("amqp_lag_records", "Records that the broker has not confirmed", signed(amqp.lag))?;
        out.gauge("amqp_lag_seconds", "Age of the oldest of them", signed(amqp.lag_seconds))?;
        out.counter("amqp_confirmed", "Messages that the broker confirmed", amqp.confirmed)?;
        out.counter("amqp_refused", "Times that the broker took a message back or refused it", amqp.refused)?;
        out.counter("amqp_connections", "Connections to the broker", amqp.connections)?;
        out.counter(
            "amqp_lost_records",
            "Records that left the journal before the broker took them",
            amqp.lost,
        )
    }

    fn of_alerts(&self, out: &mut Families<'_>) -> fmt::Result {
        let alerts = &self.status.alerts;
        if alerts.is_empty() {
            return Ok(());
        }
        let each = |value: fn(&Report) -> u64| {
            alerts.iter().map(move |report| (("rule", report.rule.as_str()), value(report)))
        };
        let help = "Messages of an alert rule that arrived, summaries among them";
        out.counters("alert_delivered", help, each(|report| report.delivered))?;
        let help = "Records that an alert rule told of by summaries";
        out.counters("alert_folded_records", help, each(|report| report.folded))?;
        let help = "Attempts of an alert rule that failed";
        out.counters("alert_failures", help, each(|report| report.failures))?;
        let help = "Records that an alert rule did not tell of: given up, or no longer in the journal";
        out.counters("alert_lost_records", help, each(|report| report.lost))?;
        let gauge = |value: fn(&Report) -> u64| {
            alerts.iter().map(move |report| ([("rule", report.rule.as_str())], signed(value(report))))
        };
        let help = "Records that wait for their delivery by an alert rule";
        out.gauges("alert_waiting_records", help, gauge(|report| report.waiting))?;
        let help = "Records that an alert rule has yet to look at";
        out.gauges("alert_lag_records", help, gauge(|report| report.lag))
    }
}

#[cfg(test)]
mod tests;
