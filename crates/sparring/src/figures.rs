//! What a bench says: medians of alternating measurements, as a table and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use scenario::Violation;
use scenario::bench::{Measurement, Mode};
use serde::Serialize;

/// Ratios that are so many times as high as others of the same load say little.
const SCATTER: f64 = 2.0;

/// All of one bench.
#[derive(Serialize)]
pub struct Report {
    /// The kernel target.
    pub target: String,
    /// The flavour that the kernel was built as; `None` for a given one.
    pub flavour: Option<String>,
    /// `uname -r`
    pub kernel_release: String,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// Processors of the guest.
    pub vcpus: u32,
    /// Seconds that each measurement takes.
    pub time_s: f64,
    /// Measurements of each connection and load.
    pub repeat: u32,
    /// Busy polling, where it was asked for.
    pub busy_poll: Option<BusyPolling>,
    /// One for each mode and size.
    pub results: Vec<Row>,
    /// What the kernel did wrong.
    pub violations: Vec<Violation>,
    /// Why results are missing, where they are.
    pub unfinished: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

/// How busy polling came about.
#[derive(Serialize)]
pub struct BusyPolling {
    /// `SO_BUSY_POLL` of all four endpoints.
    pub us: u32,
    /// Who set it on the pair: `program` or `setsockopt`.
    pub set_by: &'static str,
    /// Why it was not the program, as `bpf_setsockopt` returned it.
    pub refused: Option<String>,
}

/// One mode and size.
#[derive(Serialize)]
pub struct Row {
    /// What the endpoints did.
    pub mode: Mode,
    /// Bytes of a message.
    pub size: u32,
    /// `transactions/s` or `MB/s`, of which a million bytes make one.
    pub unit: &'static str,
    /// Plain TCP; `None` where nothing was measured.
    pub plain: Option<Figures>,
    /// The pair; `None`, too, where it broke.
    pub paired: Option<Figures>,
    /// Paired over plain, each measurement to the one before.
    pub ratio: Option<Spread>,
    /// Share of the pair's bytes that took the ring.
    pub ring_share: Option<f64>,
    /// The invariant that the pair broke here.
    pub broken: Option<String>,
}

/// What was measured of one connection.
#[derive(Serialize)]
pub struct Figures {
    /// In the row's unit.
    pub rate: Spread,
    /// Microseconds from a request to its response.
    pub round_trip_us: Option<Spread>,
    /// Each rate, in order.
    pub samples: Vec<f64>,
}

/// The middle and the ends of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of no values there is none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Spread { median, min, max })
    }
}

/// What was measured of both connections, by turns.
#[derive(Default)]
pub struct Contest {
    /// Plain TCP.
    pub plain: Vec<Measurement>,
    /// The pair.
    pub paired: Vec<Measurement>,
    /// The invariant that the pair broke.
    pub broken: Option<String>,
}

impl Contest {
    /// The figures.
    pub fn row(self, mode: Mode, size: u32) -> Row {
        let rates = |measurements: &[Measurement]| -> Vec<f64> {
            measurements.iter().map(|measurement| rate(mode, measurement)).collect()
        };
        // what broke is not fast, however fast it was before
        let pair = if self.broken.is_some() { &[] } else { self.paired.as_slice() };
        let (plain, paired) = (rates(&self.plain), rates(pair));
        let ratios: Vec<f64> =
            plain.iter().zip(&paired).map(|(plain, pair)| pair / plain).collect();
        let sum = |part: fn(&Measurement) -> u64| pair.iter().map(part).sum::<u64>();
        let (ring, bytes) = (sum(|m| m.ring), sum(|m| m.bytes));
        Row {
            mode,
            size,
            unit: match mode {
                Mode::Rr => "transactions/s",
                Mode::Stream => "MB/s",
            },
            plain: figures(mode, plain),
            paired: figures(mode, paired),
            ratio: Spread::of(&ratios),
            ring_share: (bytes > 0).then(|| number(ring) / number(bytes)),
            broken: self.broken,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of some seconds, far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Transactions, or millions of bytes, in a second.
fn rate(mode: Mode, measurement: &Measurement) -> f64 {
    let seconds = number(measurement.elapsed_ns.max(1)) / 1e9;
    let done = match mode {
        Mode::Rr => number(measurement.messages),
        Mode::Stream => number(measurement.bytes) / 1e6,
    };
    done / seconds
}

fn figures(mode: Mode, samples: Vec<f64>) -> Option<Figures> {
    let round_trips: Vec<f64> = samples.iter().map(|rate| 1e6 / rate).collect();
    let round_trip_us = (mode == Mode::Rr).then(|| Spread::of(&round_trips)).flatten();
    Some(Figures { rate: Spread::of(&samples)?, round_trip_us, samples })
}

/// The table, and below it what was measured and on what.
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "mode", "size", "plain", "min..max", "paired", "min..max", "ratio", "min..max", "ring",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in &report.results {
        let spread = |spread: &Spread| format!("{}..{}", short(spread.min), short(spread.max));
        let cells = |figures: &Option<Figures>| match figures {
            None => ["-".to_owned(), String::new()],
            Some(figures) => [shown(row.mode, figures), spread(&figures.rate)],
        };
        let [plain, plain_spread] = cells(&row.plain);
        let [mut paired, paired_spread] = cells(&row.paired);
        if let Some(invariant) = &row.broken {
            paired = format!("broken: {invariant}");
        }
        let (ratio, ratios) = row.ratio.map_or((String::new(), String::new()), |ratio| {
            (format!("{:.2}", ratio.median), format!("{:.2}..{:.2}", ratio.min, ratio.max))
        });
        table.add_row([
            row.mode.to_string(),
            row.size.to_string(),
            plain,
            plain_spread,
            paired,
            paired_spread,
            ratio,
            ratios,
            row.ring_share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        ]);
    }
    format!("{}\n{}", table.trim_fmt(), footer(report))
}

fn shown(mode: Mode, figures: &Figures) -> String {
    let rate = short(figures.rate.median);
    match (mode, figures.round_trip_us) {
        (Mode::Rr, Some(round_trip)) => format!("{rate}/s {} us", short(round_trip.median)),
        _ => format!("{rate} MB/s"),
    }
}

/// Three or more digits that mean something.
fn short(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn footer(report: &Report) -> String {
    let flavour = report.flavour.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let vcpus = if report.vcpus == 1 { "1 vCPU" } else { &format!("{} vCPUs", report.vcpus) };
    let mut footer = format!(
        "{}, kernel {}{flavour}, {}, {vcpus}; median of {} x {} s by turns",
        report.target, report.kernel_release, report.accel, report.repeat, report.time_s,
    );
    if let Some(polling) = &report.busy_poll {
        footer += &format!("\nbusy-poll {} us on all endpoints, ", polling.us);
        footer += &match (polling.set_by, &polling.refused) {
            ("program", _) => "set on the pair by its program".to_owned(),
            (_, Some(error)) => {
                format!("set with setsockopt(2): bpf_setsockopt returned {error}")
            }
            (_, None) => "set with setsockopt(2): the program is not ours".to_owned(),
        };
    }
    let scatters = |row: &Row| row.ratio.is_some_and(|ratio| ratio.max > SCATTER * ratio.min);
    if report.results.iter().any(scatters) {
        footer += "\nthe ratios scatter: measure on an idle host, for longer, or with --vcpus 1";
    }
    footer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64, min: f64, max: f64) -> Option<Spread> {
        Some(Spread { median, min, max })
    }

    #[test_log::test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), spread(3.0, 3.0, 3.0));
        assert_eq!(Spread::of(&[3.0, 1.0, 9.0]), spread(3.0, 1.0, 9.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 9.0, 2.0]), spread(3.0, 1.0, 9.0));
    }

    fn measurement(messages: u64, bytes: u64, ring: u64) -> Measurement {
        Measurement { messages, bytes, ring, elapsed_ns: 500_000_000 }
    }

    fn rr() -> Row {
        Contest {
            plain: [1000, 2000, 1500].map(|n| measurement(n, n * 128, 0)).into(),
            paired: [3000, 4000, 6750].map(|n| measurement(n, n * 128, n * 96)).into(),
            broken: None,
        }
        .row(Mode::Rr, 64)
    }

    #[test_log::test]
    fn each_pair_of_neighbours_has_its_ratio() {
        let row = rr();
        // 3000/1000, 4000/2000, 6750/1500: of the medians it would be 2.67
        assert_eq!(row.ratio, spread(3.0, 2.0, 4.5));
        assert_eq!(row.ring_share, Some(0.75));
        let plain = row.plain.unwrap();
        assert_eq!(Some(plain.rate), spread(3000.0, 2000.0, 4000.0));
        assert_eq!(plain.samples, [2000.0, 4000.0, 3000.0]);
        assert_eq!(plain.round_trip_us, spread(1e6 / 3000.0, 250.0, 500.0));
    }

    #[test_log::test]
    fn a_stream_is_measured_in_bytes() {
        let plain = vec![measurement(100, 6_400_000, 0)];
        let row = Contest { plain, ..Contest::default() }.row(Mode::Stream, 64_000);
        assert_eq!(row.plain.as_ref().map(|plain| plain.rate.median), Some(12.8));
        assert!(row.plain.is_some_and(|plain| plain.round_trip_us.is_none()));
        assert!(row.paired.is_none() && row.ratio.is_none() && row.ring_share.is_none());
    }

    #[test_log::test]
    fn a_table_shows_figures_and_what_they_are_of() {
        let broken = Contest {
            plain: vec![measurement(50, 3_200_000, 0)],
            paired: vec![measurement(5000, 320_000_000, 320_000_000)],
            broken: Some("stall".into()),
        };
        let report = Report {
            target: "paired, series rfc-v1.mbox".into(),
            flavour: Some("kcov".into()),
            kernel_release: "7.2.12".into(),
            accel: "tcg".into(),
            vcpus: 2,
            time_s: 3.0,
            repeat: 3,
            busy_poll: Some(BusyPolling {
                us: 50,
                set_by: "setsockopt",
                refused: Some("EINVAL".into()),
            }),
            results: vec![rr(), broken.row(Mode::Stream, 64_000)],
            violations: Vec::new(),
            unfinished: None,
            exit_code: 1,
        };
        insta::assert_snapshot!(table(&report));
    }
}
