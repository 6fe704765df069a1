//! `check-history FILE [--model register|map|queue] [--budget N]`: checks a file of histories.
//!
//! The format is that of [`grid_check::text`]; `-` reads the standard input. Prints what is wrong with
//! each key. Exit status: 0 linearizable, 1 a violation, 2 not to be read, 3 unknown (more budget
//! may help).

use grid_check::text::{Reader, TextModel};
use grid_check::{BUDGET, Checker, History, MapOfKeys, Queue, Register, Verdict, audit};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: check-history FILE [--model register|map|queue] [--budget N]
  FILE      histories, a line per operation; - for the standard input
  --model   what they are histories of, if the file does not say it
  --budget  most operations to try for a key";

struct Args {
    file: String,
    model: Option<String>,
    budget: u64,
}

/// How many keys ended how.
#[derive(Default)]
struct Tally {
    operations: usize,
    linearizable: usize,
    violations: usize,
    unknown: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("check-history: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let Some(args) = args(std::env::args().skip(1))? else {
        return say(USAGE).map(|()| ExitCode::SUCCESS);
    };
    let file = &args.file;
    let input: Box<dyn BufRead> = if file == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(file).map_err(|error| format!("{file}: {error}"))?;
        Box::new(BufReader::new(opened))
    };
    let reader = Reader::new(input).map_err(|error| format!("{file}: {error}"))?;
    let model = match (reader.model(), args.model.as_deref()) {
        (Some(said), Some(asked)) if said != asked => {
            return Err(format!("{file}: histories of a {said}, not of a {asked}"));
        }
        (Some(name), _) | (None, Some(name)) => name.to_owned(),
        (None, None) => return Err(format!("{file}: does not say its model\n{USAGE}")),
    };
    let tally = match model.as_str() {
        "register" => check_all::<Register>(reader, &args, |_| Vec::new())?,
        "map" => check_all::<MapOfKeys>(reader, &args, |_| Vec::new())?,
        "queue" => check_all::<Queue>(reader, &args, |history| {
            audit(history).iter().map(|anomaly| anomaly.explain(history)).collect()
        })?,
        other => return Err(format!("unknown model `{other}`\n{USAGE}")),
    };
    report(&tally)
}

/// Checks the history of each key. Prints what is wrong with it, with what `audit` finds.
fn check_all<M: TextModel>(
    reader: Reader<impl BufRead>,
    args: &Args,
    audit: impl Fn(&History<M>) -> Vec<String>,
) -> Result<Tally, String> {
    let histories = reader.histories::<M>().map_err(|error| format!("{}: {error}", args.file))?;
    let mut checker = Checker::<M>::new(args.budget);
    let mut tally = Tally::default();
    for (key, history) in histories {
        let name = if key.is_empty() { String::new() } else { format!("@{key}: ") };
        tally.operations += history.len();
        match checker.check(&history) {
            Verdict::Linearizable => tally.linearizable += 1,
            Verdict::Unknown => {
                tally.unknown += 1;
                let (tries, len) = (checker.tries(), history.len());
                say(&format!("{name}unknown after {tries} tries, {len} operations"))?;
            }
            Verdict::Violation(example) => {
                tally.violations += 1;
                say(&format!("{name}{example}"))?;
                for anomaly in audit(&history) {
                    say(&format!("  {anomaly}"))?;
                }
            }
        }
    }
    Ok(tally)
}

fn report(tally: &Tally) -> Result<ExitCode, String> {
    let Tally { operations, linearizable, violations, unknown } = *tally;
    let keys = linearizable + violations + unknown;
    say(&format!(
        "{operations} operations on {keys} keys: {linearizable} linearizable, {violations} not, \
         {unknown} unknown"
    ))?;
    Ok(match (violations, unknown) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(3),
        _ => ExitCode::from(1),
    })
}

/// Prints a line. (`println!` panics if nobody reads.)
fn say(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("standard output: {error}"))
}

fn args(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let (mut file, mut model, mut budget) = (None, None, BUDGET);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "-h" | "--help" => return Ok(None),
            "--model" => model = Some(value()?),
            "--budget" => {
                let text = value()?;
                budget = text.parse().map_err(|_| format!("--budget `{text}` is no number"))?;
            }
            option if option.starts_with("--") => {
                return Err(format!("unknown option {option}\n{USAGE}"));
            }
            _ if file.is_none() => file = Some(word),
            _ => return Err(format!("one file, not also {word}\n{USAGE}")),
        }
    }
    let file = file.ok_or_else(|| format!("no file\n{USAGE}"))?;
    Ok(Some(Args { file, model, budget }))
}
