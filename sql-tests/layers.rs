//! The rules of the sources, read from the sources: ranks of modules, one door each, how files begin and how long they
//! are.

use std::path::{Path, PathBuf};

/// Ranks from the top; modules of one line are peers. A module uses only lower lines.
const RANKS: &[&[&str]] = &[
    &["main"],
    &["client"],
    &["settings"],
    &["server"],
    &["database"],
    &["session"],
    &["batch", "job"],
    &["checkpoint"],
    &["stream", "planner"],
    &["plan", "sql", "catalog", "connector"],
    &["log", "state", "expr"],
    &["types"],
    &["common"],
];

/// A crate or call that has one door: the word, and the paths (under `src/`) that may write it.
const DOORS: &[(&str, &[&str])] = &[
    ("sled::", &["state/sled.rs"]),
    ("pgwire::", &["server/"]),
    ("use nexmark::", &["connector/nexmark"]),
    ("tokio_postgres::", &["client.rs", "client/"]),
    ("Instant::now", &["common/clock.rs"]),
    ("SystemTime::now", &["common/clock.rs"]),
    ("Utc::now", &["common/clock.rs"]),
    ("fail::", &["common/failpoint.rs"]),
];

/// Lines of a file, its inline tests aside.
const LONGEST: usize = 800;

struct Source {
    /// Under `src/`, with `/`.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_string(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// Numbered lines of code before the inline tests, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|peers| peers.contains(&module))
}

/// The modules that a line of code names: `crate::x`, `weir::x`, and `crate::{x::…, y}` on one line.
fn used(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for prefix in ["crate::", "weir::"] {
        for (at, _) in line.match_indices(prefix) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"') {
                continue;
            }
            let rest = &line[at + prefix.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                found.extend(list.split(',').map(|m| first_word(m.trim())));
            } else {
                found.push(first_word(rest));
            }
        }
    }
    found.retain(|m| !m.is_empty());
    found
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn a_module_uses_only_lower_ranks() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test() && s.path != "lib.rs") {
        let module = source.module();
        let Some(own) = rank(module) else {
            wrong.push(format!("src/{}: module {module} has no rank", source.path));
            continue;
        };
        for (at, line) in source.code() {
            for other in used(line) {
                let fine = match rank(other) {
                    Some(rank) => other == module || rank > own,
                    // An item of the crate's root, or of the binary.
                    None => true,
                };
                if !fine {
                    wrong.push(format!("src/{}:{at}: {module} must not use {other}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_door_each() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        for (at, line) in source.code() {
            for (word, doors) in DOORS {
                let named = line.match_indices(word).any(|(i, _)| {
                    !line[..i].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if named && !doors.iter().any(|door| source.path.starts_with(door)) {
                    wrong.push(format!("src/{}:{at}: {word} belongs in {}", source.path, doors.join(" or ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("src/{} does not open with //!", source.path));
        }
        let lines = source.code().last().map_or(0, |(at, _)| at);
        if lines > LONGEST {
            wrong.push(format!("src/{} has {lines} lines, {LONGEST} are the most", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
