//! What the terminal shows: a bar while the job runs, a chart and grouped numbers when it is done.

use std::io::{self, IsTerminal, Write};

/// Columns of a full bar.
const BAR_WIDTH: usize = 40;
/// Blocks of one to eight eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A progress bar on standard error; nothing at all unless both outputs are a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Per mille that is on the screen.
    shown: Option<u64>,
    visible: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let visible = io::stdout().is_terminal() && io::stderr().is_terminal();
        Progress { shown: None, visible }
    }

    /// Shows what share is done, 0 to 1.
    pub(crate) fn show(&mut self, share: f64) {
        let per_mille = (share.clamp(0.0, 1.0) * 1000.0) as u64;
        if self.visible && self.shown != Some(per_mille) {
            self.shown = Some(per_mille);
            let line = format!("\r  {:<BAR_WIDTH$} {:>3} %", bar(share), per_mille / 10);
            // A screen that cannot be written to is no reason to stop.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

impl Drop for Progress {
    /// Ends the line.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = io::stderr().write_all(b"\n");
        }
    }
}

/// A bar of a share of the full width.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (BAR_WIDTH * EIGHTHS.len()) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / EIGHTHS.len());
    if let Some(part) = (eighths % EIGHTHS.len()).checked_sub(1) {
        bar.push(EIGHTHS[part]);
    }
    bar
}

/// A chart of one line per value, with its label, a bar from zero and the value; no bar for negative values.
pub(crate) fn chart(values: &[(String, f64)]) -> String {
    let highest = values.iter().fold(0.0, |highest: f64, (_, value)| highest.max(*value));
    let label_width = values.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let line = |(label, value): &(String, f64)| {
        let share = if highest > 0.0 { value / highest } else { 0.0 };
        format!("  {label:>label_width$} {:<BAR_WIDTH$} {value:>7.1}\n", bar(share))
    };
    values.iter().map(line).collect()
}

/// A number with its thousands apart: `26,398`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Prints to standard output; whoever reads it may have gone, as `head` does.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(-1.0), "");
        assert_eq!(bar(f64::NAN), "");
        assert_eq!(bar(1.0 / 320.0), "▏");
        assert_eq!(bar(8.0 / 320.0), "█");
        assert_eq!(bar(0.5), "█".repeat(20));
        assert_eq!(bar(2.0), "█".repeat(40));
    }

    #[test]
    fn a_chart_scales_to_its_highest_value() {
        let chart =
            chart(&[("05h".to_owned(), -2.5), ("6h".to_owned(), 20.0), ("7h".to_owned(), 10.0)]);
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines[0], format!("  05h {:<40}    -2.5", ""));
        assert_eq!(lines[1], format!("   6h {:<40}    20.0", "█".repeat(40)));
        assert_eq!(lines[2], format!("   7h {:<40}    10.0", "█".repeat(20)));
    }

    #[test]
    fn thousands_are_apart() {
        let numbers = [0, 12, 999, 1_000, 26_398, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "12", "999", "1,000", "26,398", "1,234,567"]);
    }
}
