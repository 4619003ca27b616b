//! The example policy of `policies/`, compiled in, so that `weir run --lab` works in an empty directory.

use crate::policy::document::Files;

/// Each file is named once; a test holds the list against the directory.
macro_rules! example {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!("../../policies/", $path)).as_slice()),)*]
    };
}

const EXAMPLE: &[(&str, &[u8])] = example![
    "access.toml",
    "clients.toml",
    "filters/00-allow.toml",
    "filters/10-video.toml",
    "gateway.toml",
    "limits.toml",
    "lists/video-clients.txt",
    "modes/under-attack.toml",
    "tests/access.toml",
    "tests/video.toml",
];

/// The files of the example.
pub fn files() -> Files {
    EXAMPLE.iter().map(|(path, bytes)| (*path, *bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_of_the_directory_is_compiled_in() {
        fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
                if entry.path().is_dir() {
                    walk(&entry.path(), &format!("{path}/"), found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), "", &mut found);
        found.retain(|path| !path.contains("README"));
        found.sort();
        let listed: Vec<_> = EXAMPLE.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, found, "src/control/example.rs lists other files than policies/ has (both are sorted)");
    }
}
