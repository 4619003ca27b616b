//! What lies in a directory that is to be replaced is had whole, or the directory is not replaced.

use super::*;

/// What is said about the directory, in Chinese, without the directory's name.
fn refused(dir: &Path) -> String {
    replace::lying(dir).unwrap_err().to(Lang::Zh).replace(&dir.display().to_string(), "DIR")
}

#[test]
fn files_that_were_not_read_are_not_replaced() {
    let place = Place::new("lying");
    let dir = directory(&place, "old");
    place.write("policy/notes.toml", "a stranger");
    assert_eq!(replace::lying(&dir).unwrap().digest(), read_directory(&dir).unwrap().0.digest());
    let said = |paths: &str, cause: &str| {
        format!(
            "没有替换 DIR 中的文件：{paths} 无法先行另存，替换后会丢失：{cause}\n  没有任何改动；请先将其移出 DIR，再重试"
        )
    };

    // One file over its bound, which `put` would take away or write over.
    place.write("policy/modes/large.toml", &"#".repeat(usize::try_from(TOML_MAX).unwrap() + 1));
    assert_eq!(refused(&dir), said("modes/large.toml", "modes/large.toml 超过 4 MiB"));
    fs::remove_file(dir.join("modes/large.toml")).unwrap();

    // A link that leads out of it, and one to a directory.
    std::os::unix::fs::symlink("/dev/null", dir.join("modes/out.toml")).unwrap();
    let told = refused(&dir);
    assert!(told.contains("modes/out.toml 无法先行另存"), "{told}");
    fs::remove_file(dir.join("modes/out.toml")).unwrap();
    place.write("policy/lists/a.txt", "a.example\n");
    std::os::unix::fs::symlink("../lists", dir.join("lists/more")).unwrap();
    let told = refused(&dir);
    assert!(told.contains("lists/more 无法先行另存"), "{told}");
    fs::remove_file(dir.join("lists/more")).unwrap();

    // More files than a policy may have: those that come last were not read.
    let here = paths(&dir).unwrap().len();
    (here..FILES_MAX + 5).for_each(|n| place.write(&format!("policy/lists/n{n:05}.txt"), ""));
    let last = |n: usize| format!("lists/n{:05}.txt", FILES_MAX + n);
    let told = refused(&dir);
    assert!(told.contains("策略目录中的文件超过 4096 个") && told.contains("以及另外 "), "{told}");
    (0..5).for_each(|n| fs::remove_file(dir.join(last(n))).unwrap());
    assert_eq!(replace::lying(&dir).unwrap().iter().count(), FILES_MAX - 1, "all but the stranger");

    // Neither is one that is not there taken for an empty one.
    fs::remove_dir_all(&dir).unwrap();
    let told = refused(&dir);
    assert!(told.contains("DIR") && told.ends_with("没有任何改动"), "{told}");
}
