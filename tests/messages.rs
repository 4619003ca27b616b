//! Messages: what the sources say is what the Chinese catalogue has, no more and no less, and every code and every problem
//! of a list has a case that shows it at its exact place in both languages (tests/faults/).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use weir::language::Catalogue;
use weir::policy::document::Code;
use weir::policy::filter::lists::Problem;

/// Behind this line of the catalogue stand the words of others.
const FOREIGN: &str = "# ---- words of the TOML library and of others";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("readable"))
    };
    found.into_iter().map(read).filter(|(name, _)| !name.contains("/tests")).collect()
}

/// The code of a file: without its tests at the end.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The string literal that `text` begins with, unescaped, if it does.
fn literal(text: &str) -> Option<String> {
    let mut said = String::new();
    let mut letters = text.strip_prefix('"')?.chars();
    loop {
        match letters.next()? {
            '"' => return Some(said),
            '\\' => match letters.next()? {
                'n' => said.push('\n'),
                // A line that goes on below begins with its first letter there.
                '\n' => {
                    let rest = letters.as_str().trim_start();
                    letters = rest.chars();
                }
                other => said.push(other),
            },
            other => said.push(other),
        }
    }
}

/// The templates of all `text!` and `phrase!` of a file, each with its line.
fn templates(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let calls = ["text!(", "phrase!("].into_iter().flat_map(|call| text.match_indices(call));
    for (at, call) in calls {
        let is_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '`');
        let line = text[..at].matches('\n').count() + 1;
        let in_comment = text[..at].rsplit('\n').next().unwrap_or_default().trim_start().starts_with("//");
        if is_word || in_comment {
            continue;
        }
        if let Some(template) = literal(text[at + call.len()..].trim_start()) {
            found.push((line, template));
        }
    }
    found
}

#[test]
fn every_message_has_chinese_words_and_all_chinese_words_have_a_message() {
    let catalogue: BTreeSet<String> = Catalogue::pairs().map(|(en, _)| en.into_owned()).collect();
    let (mut said, mut lacking) = (BTreeSet::new(), Vec::new());
    for (file, text) in sources() {
        for (line, template) in templates(code(&text)) {
            if !catalogue.contains(&template) {
                lacking.push(format!("{file}:{line}: {template:?}"));
            }
            said.insert(template);
        }
    }
    assert!(said.len() > 200, "the messages were not found");
    for problem in Problem::ALL {
        for text in [Some(problem.text()), problem.hint()].into_iter().flatten() {
            if !catalogue.contains(text.kind()) {
                lacking.push(format!("{problem:?}: {:?}", text.kind()));
            }
            said.insert(text.kind().to_owned());
        }
    }
    assert!(lacking.is_empty(), "messages without Chinese words in src/language/zh.txt:\n{}", lacking.join("\n"));
    let file = fs::read_to_string(root().join("src/language/zh.txt")).expect("readable");
    let own = file.split(FOREIGN).next().expect("split yields one");
    let others: BTreeSet<_> = Catalogue::pairs().map(|(en, _)| en).skip(own_pairs(own)).collect();
    // Descriptions of commands and options are no messages; the command line has a test of its own.
    let described: BTreeSet<_> = Catalogue::of_the_command_line().map(|(en, _)| en).collect();
    assert!(described.len() > 50 && described.is_subset(&others), "the words of the command line were not found");
    let foreign: BTreeSet<_> = others.union(&described).cloned().collect();
    assert!(!others.is_empty() && others.len() - described.len() < 100, "the words of others were not found");
    let stale: Vec<_> = catalogue.iter().filter(|en| !foreign.contains(en.as_str()) && !said.contains(*en)).collect();
    assert!(stale.is_empty(), "Chinese words that no message needs: {stale:#?}");
}

fn own_pairs(own: &str) -> usize {
    own.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count() / 2
}

#[test]
fn no_sentence_is_said_to_have_no_language() {
    let mut broken = Vec::new();
    for (file, text) in sources() {
        let text = code(&text);
        for call in ["Text::verbatim(", "Text::foreign("] {
            for (at, _) in text.match_indices(call) {
                let line = text[..at].matches('\n').count() + 1;
                let arguments = arguments(&text[at + call.len()..]);
                let said = arguments.find('"').and_then(|quote| literal(&arguments[quote..])).unwrap_or_default();
                let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
                let words: Vec<_> = said.split(' ').map(is_word).collect();
                if words.windows(3).any(|three| three.iter().all(|is_word| *is_word)) {
                    broken.push(format!("{file}:{line}: {said:?}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "say it with text!(), so that it can be said in Chinese:\n{}", broken.join("\n"));
}

/// What stands between the brackets of a call that has just been opened.
fn arguments(text: &str) -> &str {
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// What the reports in a language say at each place: `file:line:column CODE message` and, indented, the hint.
fn goldens(lang: &str) -> Vec<(String, String)> {
    let corpus = root().join("tests/faults");
    let mut all = Vec::new();
    for entry in fs::read_dir(corpus).expect("the corpus is readable") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == lang) {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            all.push((name, fs::read_to_string(&path).expect("readable")));
        }
    }
    all.sort();
    all
}

#[test]
fn every_code_and_every_problem_of_a_list_has_a_case_in_both_languages() {
    for lang in ["en", "zh"] {
        let goldens = goldens(lang);
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (file, text) in &goldens {
            for line in text.lines().filter(|line| !line.starts_with(' ')) {
                let mut words = line.split(' ');
                let (place, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let is_place = place.rsplitn(3, ':').take(2).all(|number| number.parse::<usize>().is_ok());
                assert!(is_place, "{file}: {line:?} names no place");
                seen.insert(code.to_owned(), line.to_owned());
                if code == "W-LIST-LINE" {
                    // Lists of addresses have one problem, and no word for it.
                    let problem = line.split_once(" [").and_then(|(_, rest)| rest.split_once(']'));
                    seen.extend(problem.map(|problem| (problem.0.to_owned(), line.to_owned())));
                }
            }
        }
        let codes = Code::ALL.iter().map(|code| code.as_str());
        // A gigabyte of records is no case, nor is a line of a third of a megabyte, nor are a million lines.
        let is_case = |code: &&str| !matches!(*code, "rpz-too-large" | "rpz-too-long" | "too-many-exceptions");
        let problems = Problem::ALL.iter().map(|problem| problem.code()).filter(is_case);
        let missing: Vec<_> = codes.chain(problems).filter(|code| !seen.contains_key(*code)).collect();
        assert!(missing.is_empty(), "no case of tests/faults/*.expected.{lang} shows {missing:?}");
    }
}
