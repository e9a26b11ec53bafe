//! Checks that the imports of `src` go one way:
//! `py -> monitor -> hub -> engine -> protocol | runtime -> config | error`.
//!
//! The test reads `use` statements, and paths in the code that begin with `crate::`, `self::` or `super::`. A
//! name that a `mod.rs` only passes on (`pub use`) counts as imported from the file that defines it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The layers from the bottom up. Layers in one row do not import each other.
const LAYERS: [&[&str]; 6] = [
    &["config", "error"],
    &["protocol", "runtime"],
    &["engine"],
    &["hub"],
    &["monitor"],
    &["py"],
];

/// An import: its line, and its path from the crate's root.
#[derive(Debug)]
struct Import {
    line: usize,
    path: Vec<String>,
    /// Whether the import is a `pub use` at the top level of the file.
    passes_on: bool,
}

struct Source {
    /// The printed name: `src/engine/mod.rs`.
    name: String,
    module: Vec<String>,
    /// The code without comments and strings.
    code: String,
    imports: Vec<Import>,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join("src"), &mut found);
    found.sort();
    let read = |path: &PathBuf| {
        let below = path.strip_prefix(root.join("src")).unwrap();
        let mut module: Vec<_> = below
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        let code = blanked(&fs::read_to_string(path).unwrap());
        let imports = imports(&code, &module);
        Source {
            name: format!("src/{}", below.display()),
            module,
            code,
            imports,
        }
    };
    found.iter().map(read).collect()
}

/// Code whose comments, strings and character literals are blank. Line numbers stay the same.
fn blanked(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let mut out = String::with_capacity(code.len());
    let mut at = 0;
    let upto = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        (from..chars.len())
            .find(|at| chars[*at..].starts_with(&end))
            .map_or(chars.len(), |at| at + end.len())
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let end = if rest.starts_with(&['/', '/']) {
            upto(at, "\n") - 1
        } else if rest.starts_with(&['/', '*']) {
            upto(at, "*/")
        } else if rest.starts_with(&['r', '"']) {
            upto(at + 2, "\"")
        } else if rest.starts_with(&['r', '#', '"']) {
            upto(at + 3, "\"#")
        } else if rest[0] == '"' {
            let mut end = at + 1;
            while end < chars.len() && chars[end] != '"' {
                end += 1 + usize::from(chars[end] == '\\');
            }
            end + 1
        } else if rest.starts_with(&['\'', '\\']) {
            upto(at + 3, "'")
        } else if rest.len() > 2 && rest[0] == '\'' && rest[2] == '\'' {
            at + 3
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        let skipped = &chars[at..end.min(chars.len())];
        out.extend(
            skipped
                .iter()
                .map(|one| if *one == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    out
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

/// The paths of a use tree.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, group) = match tree.split_once('{') {
        Some((head, group)) => (head, group.trim_end().strip_suffix('}')),
        None => (tree, None),
    };
    let head = head.split(" as ").next().unwrap_or_default();
    let mut path = before.to_vec();
    path.extend(
        head.split("::")
            .map(str::trim)
            .filter(|one| !one.is_empty() && *one != "self" || before.is_empty() && *one == "self")
            .map(str::to_owned),
    );
    let Some(group) = group else {
        return found.push(path);
    };
    let mut depth = 0;
    let parts = group.split(|one| {
        depth += i32::from(one == '{') - i32::from(one == '}');
        one == ',' && depth == 0
    });
    for part in parts.filter(|part| !part.trim().is_empty()) {
        expand(part, &path, found);
    }
}

/// The path from the crate's root; `None` if it leads out of the crate.
fn absolute(path: &[String], module: &[String], inner: usize) -> Option<Vec<String>> {
    let mut from = match path.first()?.as_str() {
        "crate" => return Some(path[1..].to_vec()),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    // A module within the file counts as the file itself.
    let mut ups = path.iter().take_while(|one| *one == "super").count();
    let rest = path
        .iter()
        .skip_while(|one| matches!(one.as_str(), "super" | "self"));
    ups = ups.saturating_sub(inner);
    from.truncate(from.len().checked_sub(ups)?);
    from.extend(rest.cloned());
    Some(from)
}

fn imports(code: &str, module: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    // For each open brace, whether it opens a module.
    let mut braces = Vec::new();
    let mut at = 0;
    let mut statement = 0;
    let (mut line, mut counted) = (1, 0);
    while at < code.len() {
        let rest = &code[at..];
        let first = rest.chars().next().unwrap();
        let begins = !code[..at].chars().next_back().is_some_and(is_word);
        let inner = braces.iter().filter(|module| **module).count();
        line += code[counted..at].matches('\n').count();
        counted = at;
        let mut add = |path: &[String], passes_on| {
            if let Some(path) = absolute(path, module, inner) {
                found.push(Import {
                    line,
                    path,
                    passes_on,
                });
            }
        };
        if begins && rest.starts_with("use ") {
            let end = rest.find(';').unwrap();
            let passes_on = inner == 0 && code[statement..at].trim_start().starts_with("pub");
            let mut paths = Vec::new();
            expand(&rest[4..end], &[], &mut paths);
            paths.iter().for_each(|path| add(path, passes_on));
            at += end;
        } else if begins
            && ["crate::", "super::", "self::"]
                .iter()
                .any(|start| rest.starts_with(start))
        {
            let end = rest
                .find(|one: char| !is_word(one) && one != ':')
                .unwrap_or(rest.len());
            let path = rest[..end].split("::").filter(|one| !one.is_empty());
            let path: Vec<_> = path.map(str::to_owned).collect();
            // `pub(in crate::engine)` imports nothing.
            if !code[..at].ends_with("(in ") {
                add(&path, false);
            }
            at += end;
        } else {
            match first {
                '{' => {
                    let before: Vec<_> = code[statement..at].split_whitespace().collect();
                    braces.push(before.iter().rev().nth(1) == Some(&"mod"));
                }
                '}' => drop(braces.pop()),
                _ => {}
            }
            if matches!(first, '{' | '}' | ';' | ']') {
                statement = at + first.len_utf8();
            }
            at += first.len_utf8();
        }
    }
    found
}

/// The file that a path leads to, through the names that `mod.rs` files pass on.
fn resolve(path: &[String], sources: &[Source], depth: usize) -> Option<usize> {
    let (at, source) = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.name != "src/lib.rs" && path.starts_with(&source.module))
        .max_by_key(|(_, source)| source.module.len())?;
    let passed = path.get(source.module.len()).and_then(|name| {
        let mut passed = source.imports.iter().filter(|import| import.passes_on);
        passed.find(|import| import.path.last() == Some(name))
    });
    match passed {
        Some(import) if depth < 8 && import.path != path => {
            resolve(&import.path, sources, depth + 1)
        }
        _ => Some(at),
    }
}

fn layer(module: &[String]) -> Option<usize> {
    let folder = module.first()?.as_str();
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

#[test]
fn imports_go_from_the_bindings_to_the_ground() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|one| one.name != "src/lib.rs") {
        let own = layer(&source.module).unwrap_or_else(|| panic!("{} has no layer", source.name));
        for import in &source.imports {
            let Some(target) = layer(&import.path) else {
                continue;
            };
            if import.path[0] != source.module[0] && target >= own {
                let (name, line) = (&source.name, import.line);
                breaches.push(format!(
                    "{name}:{line} imports crate::{}",
                    import.path.join("::")
                ));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Whether a file itself uses a name that it passes on.
fn uses(source: &Source, name: &str) -> bool {
    let mut words = source.code.split(|one| !is_word(one));
    words.by_ref().filter(|word| *word == name).count() > 1
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let mut edges: BTreeMap<usize, BTreeMap<usize, usize>> = BTreeMap::new();
    for (from, source) in sources.iter().enumerate() {
        for import in &source.imports {
            let last = import.path.last().map_or("", String::as_str);
            if import.passes_on && !uses(source, last) {
                continue;
            }
            if let Some(to) = resolve(&import.path, &sources, 0)
                && to != from
            {
                edges
                    .entry(from)
                    .or_default()
                    .entry(to)
                    .or_insert(import.line);
            }
        }
    }
    let reached: Vec<_> = (0..sources.len()).map(|from| reach(from, &edges)).collect();
    let mut circles = Vec::new();
    for (from, targets) in &edges {
        for (to, line) in targets {
            let (here, there) = (&sources[*from].name, &sources[*to].name);
            if reached[*to].contains(from) {
                circles.push(format!(
                    "{here}:{line} imports {there}, which leads back to it"
                ));
            }
        }
    }
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

/// All files that a file imports, directly or through others.
fn reach(from: usize, edges: &BTreeMap<usize, BTreeMap<usize, usize>>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        let targets = edges.get(&file).into_iter().flat_map(BTreeMap::keys);
        next.extend(targets.filter(|to| reached.insert(**to)));
    }
    reached
}

fn paths(code: &str, module: &[&str]) -> Vec<String> {
    let module: Vec<_> = module.iter().map(|one| (*one).to_owned()).collect();
    let found = imports(&blanked(code), &module);
    let show = |import: Import| format!("{} {}", import.line, import.path.join("::"));
    found.into_iter().map(show).collect()
}

#[test]
fn every_form_of_an_import_is_read() {
    let code = "use crate::{a, b::{C, d::E as F}};
        // use crate::comment;
        pub(crate) use self::one::Two;
        fn f() { crate::g::h(\"crate::string\", 'x'); super::i::<super::super::J>() }
        pub(in crate::engine) fn g() {}
        #[cfg(test)]
        mod tests { use super::*; use super::super::K; }
        use std::io;";
    assert_eq!(
        paths(code, &["engine", "file"]),
        [
            "1 a",
            "1 b::C",
            "1 b::d::E",
            "3 engine::file::one::Two",
            "4 g::h",
            "4 engine::i",
            "4 J",
            "7 engine::file::*",
            "7 engine::K",
        ]
    );
}
