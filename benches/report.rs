//! What was measured: as progress while it runs, as a table, as JSON.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use weir::common::clock::instant;

use crate::{Bench, Outcome};

/// One line of the table.
pub struct Figure {
    pub name: String,
    pub value: f64,
    /// `x` for a ratio, `%`, `us`, `ms`, `s`, `MB`.
    pub unit: &'static str,
    /// The value should not exceed this.
    pub aim: Option<f64>,
    /// What the value was made of, for people.
    pub of: String,
    /// The same for programs.
    pub details: Value,
}

pub struct Report {
    started: Instant,
    events: u64,
    figures: Vec<Figure>,
}

impl Report {
    pub fn new(bench: &Bench) -> Self {
        let report = Self { started: instant(), events: bench.events, figures: Vec::new() };
        report.progress(&format!("{} events, parallelism {}, {}", bench.events, bench.parallelism, processor()));
        report
    }

    /// Tells what goes on.
    pub fn progress(&self, what: &str) {
        eprintln!("[{:7.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    pub fn add(&mut self, figure: Figure) {
        self.progress(&format!("{}: {:.2} {} ({})", figure.name, figure.value, figure.unit, figure.of));
        self.figures.push(figure);
    }

    pub fn finish(self, bench: &Bench) -> Outcome<()> {
        println!("\n{} Nexmark events, parallelism {}, {}\n", self.events, bench.parallelism, processor());
        println!("| figure | measured | aim | of |\n|---|---:|---:|---|");
        for f in &self.figures {
            let aim = match f.aim {
                Some(aim) if f.value > aim => format!("{aim} {} (missed)", f.unit),
                Some(aim) => format!("{aim} {}", f.unit),
                None => String::new(),
            };
            println!("| {} | {:.2} {} | {aim} | {} |", f.name, f.value, f.unit, f.of);
        }
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|f| {
                let met = f.aim.map(|aim| f.value <= aim);
                json!({
                    "name": f.name, "value": f.value, "unit": f.unit, "aim": f.aim, "met": met, "details": f.details,
                })
            })
            .collect();
        let all = json!({
            "events": self.events, "parallelism": bench.parallelism, "processor": processor(),
            "seconds": self.started.elapsed().as_secs_f64(), "figures": figures,
        });
        let path = bench.dir.join("results.json");
        fs::create_dir_all(&bench.dir)?;
        fs::write(&path, serde_json::to_string_pretty(&all)?)?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

fn processor() -> String {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor", |(_, name)| name).to_string()
}
