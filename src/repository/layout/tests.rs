//! Trees of files, and what is found in them.

use super::*;
use std::fs;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    root
}

#[test]
fn models_and_versions_are_found_in_order() {
    let root = tree(&["b/2/model.pt", "b/10/model.pt", "a/1/model.pt", "b/model.toml"]);
    let scan = scan(root.path(), &[]).unwrap();
    let found: Vec<_> = scan
        .models
        .iter()
        .map(|model| (model.name.as_str(), model.versions.iter().map(|v| v.version.0).collect()))
        .collect();
    assert_eq!(found, [("a", vec![1u64]), ("b", vec![2, 10])]);
    assert_eq!(scan.ignored, [""; 0]);
}

#[test]
fn what_is_no_model_is_passed_over_and_what_looks_like_one_is_told() {
    let root = tree(&[
        "README.md",
        "scripts/train.py",
        ".git/1/model.pt",
        "_x/1/model.pt",
        "a/01/model.pt",
        "a/1/model.pt",
        "a/2/weights.bin",
        "a/notes/x",
    ]);
    let scan = scan(root.path(), &[]).unwrap();
    assert_eq!(scan.models.len(), 1);
    assert_eq!(scan.models[0].versions.len(), 1);
    let [ignored] = &*scan.ignored else { panic!("{:?}", scan.ignored) };
    assert!(ignored.starts_with("folder _x is not served: a name"), "{ignored}");
    let [number, none] = &*scan.models[0].ignored else { panic!("{:?}", scan.models) };
    assert!(number.starts_with("folder a/01 is not served: "), "{number}");
    assert_eq!(none, "folder a/2 is not served: it has no model.pt");
}

#[test]
fn a_model_without_a_version_says_what_to_do() {
    let root = tree(&["a/model.pt", "b/model.toml"]);
    let scan = scan(root.path(), &[]).unwrap();
    let problem = |index: usize| scan.models[index].problem.clone().unwrap();
    assert!(problem(0).ends_with("move it into a version folder: a/1/model.pt"));
    assert_eq!(problem(1), "no version folder holds a model.pt; expected b/1/model.pt");
}

#[cfg(unix)]
#[test]
fn links_are_followed_as_kubernetes_mounts_them() {
    let root = tree(&["..2026/a/1/model.pt"]);
    std::os::unix::fs::symlink("..2026", root.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a", root.path().join("a")).unwrap();
    let scan = scan(root.path(), &[]).unwrap();
    assert_eq!(scan.models.len(), 1);
    assert_eq!(scan.models[0].versions.len(), 1);
}

#[test]
fn a_missing_folder_is_an_error() {
    assert!(scan(Path::new("does/not/exist"), &[]).is_err());
}

#[track_caller]
fn check_problem(files: &[&str], expected: &str) {
    let root = tree(files);
    let scan = scan(root.path(), &[]).unwrap();
    let [model] = &*scan.models else { panic!("{scan:?}") };
    assert_eq!(model.problem.as_deref(), Some(expected));
    assert_eq!((&*scan.ignored, &*model.ignored), (&[][..], &[][..]), "it must be told once");
    assert!(find(root.path(), &[], &model.name).is_some(), "a reload must see it too");
}

#[test]
fn what_was_meant_to_be_a_version_says_what_to_do() {
    let number = "a version is a whole number without leading zeros, as in m/1";
    for odd in ["v1", "1.0", "latest", "-1"] {
        let file = format!("m/{odd}/model.pt");
        check_problem(&[&file], &format!("folder m/{odd} is not served: {number}"));
    }
    check_problem(
        &["m/1/1/model.pt"],
        "folder m/1 is not served: 1/1/model.pt lies too deep, expected m/1/model.pt",
    );
    check_problem(
        &["m/1/resnet.pt"],
        "folder m/1 is not served: it holds resnet.pt, expected model.pt",
    );
    check_problem(
        &["m/1/MODEL.PT"],
        "folder m/1 is not served: it holds MODEL.PT, expected model.pt",
    );
    check_problem(
        &["m/model.toml", "m/resnet.pt"],
        "no version folder holds a model.pt; expected m/1/model.pt, resnet.pt is none",
    );
}

#[test]
fn a_package_is_a_version_where_no_other_file_is() {
    let root = tree(&["m/1/model.pt2", "m/2/model.pt", "m/2/model.pt2", "n/model.pt2"]);
    let scan = scan(root.path(), &[]).unwrap();
    let [m, n] = &*scan.models else { panic!("{scan:?}") };
    let files: Vec<_> =
        m.versions.iter().map(|it| it.file.strip_prefix(&m.path).unwrap()).collect();
    assert_eq!(files, [Path::new("1/model.pt2"), Path::new("2/model.pt")]);
    let problem =
        "model.pt2 lies in the model's own folder; move it into a version folder: n/1/model.pt2";
    assert_eq!(n.problem.as_deref(), Some(problem));
}

#[test]
fn odd_versions_beside_good_ones_are_told() {
    let root = tree(&[
        "m/1/model.pt",
        "m/v2/model.pt",
        "m/3/resnet.pt",
        "m/4/x",
        "m/src/x.py",
        "m/a/1/model.pt",
    ]);
    let scan = scan(root.path(), &[]).unwrap();
    let [model] = &*scan.models else { panic!("{scan:?}") };
    assert_eq!((model.versions.len(), &model.problem), (1, &None));
    let told = model.ignored.join("\n");
    assert_eq!(model.ignored.len(), 4, "{told}");
    for folder in ["folder m/v2 is", "folder m/a is", "folder m/3 is", "folder m/4 is"] {
        assert!(told.contains(folder), "{folder:?} is missing in {told}");
    }
}

#[test]
fn folders_beside_the_models_are_no_models() {
    let root = tree(&[
        "logs/2026/11/log.txt",
        "logs/2026/x.log",
        "scripts/train.py",
        "data/2025/a.pt",
        "data/2025/b.pt",
        "empty/1/x",
        "weights/yolo.pt",
        "checkpoints/run/epoch3.pth",
        "backup/m/1/model.pt",
        "tf/1/saved_model.pb",
        "m/1/model.pt",
    ]);
    let scan = scan(root.path(), &[]).unwrap();
    let names: Vec<_> = scan.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["m"], "what does not look like a model must not hold readiness back");
    let told = scan.ignored.join("\n");
    assert_eq!(
        told,
        "folder backup is not served: it holds m/1/model.pt, expected backup/1/model.pt\n\
         folder checkpoints is not served: it holds run/epoch3.pth, expected checkpoints/1/model.pt\n\
         folder data is not served: it holds 2025/a.pt, b.pt, expected data/1/model.pt\n\
         folder tf is not served: it holds 1/saved_model.pb, expected tf/1/model.pt\n\
         folder weights is not served: it holds yolo.pt, expected weights/1/model.pt"
    );
    for name in ["logs", "empty", "weights", "data", "backup"] {
        assert_eq!(find(root.path(), &[], &name.parse().unwrap()), None, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = tree(&["good/1/model.pt"]);
    for folder in [&b"m\xff/1"[..], b"good/\xfe"] {
        let path = root.path().join(OsStr::from_bytes(folder));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("model.pt"), "x").unwrap();
    }
    let scan = scan(root.path(), &[]).unwrap();
    assert_eq!(scan.models.len(), 1);
    let [ignored] = &*scan.ignored else { panic!("{:?}", scan.ignored) };
    assert!(ignored.starts_with("folder \"m\\xFF\" is not served: a name"), "{ignored}");
    let [ignored] = &*scan.models[0].ignored else { panic!("{:?}", scan.models) };
    assert!(ignored.starts_with("folder good/\"\\xFE\" is not served: a version"), "{ignored}");
}

#[track_caller]
fn check_root(files: &[&str], expected: &str) {
    let root = tree(files);
    let scan = scan(root.path(), &[]).unwrap();
    assert_eq!(scan.models, []);
    let [sentence] = &*scan.ignored else { panic!("{:?}", scan.ignored) };
    assert_eq!(sentence.replace(&root.path().display().to_string(), "ROOT"), expected);
}

#[test]
fn a_model_without_its_name_says_what_to_write() {
    let advice =
        "and so looks like the folder of one model: to serve it, start with --model NAME=ROOT";
    let check = |files: &[&str], found: &str| {
        check_root(files, &format!("the models folder ROOT holds {found} {advice}"));
    };
    check(&["model.pt"], "model.pt");
    check(&["model.pt", "other.pt", "model.toml"], "model.pt");
    check(&["1/model.pt", "2/model.pt", "model.toml"], "1/model.pt");
    check(&["resnet.pt"], "resnet.pt");
    check_root(
        &["a.pt", "b.pt", "c.pt", "d.pt"],
        "the models folder ROOT holds a.pt, b.pt, c.pt, 1 more: a model is a folder, expected NAME/1/model.pt",
    );
    let root = tree(&["2024/1/model.pt"]);
    assert_eq!(scan(root.path(), &[]).unwrap().models.len(), 1, "a number may be a name");
}

#[test]
fn looking_is_bounded() {
    let root = tree(&["m/1/model.pt"]);
    for index in 0..=MAX_IGNORED {
        fs::create_dir(root.path().join(format!("w{index}"))).unwrap();
        fs::write(root.path().join(format!("w{index}/x.pt")), "").unwrap();
    }
    let ignored = scan(root.path(), &[]).unwrap().ignored;
    assert_eq!(ignored.len(), MAX_IGNORED + 1);
    assert_eq!(ignored[MAX_IGNORED], "1 more folders are not served");
    let listing = Listing::read(root.path(), 5).unwrap();
    assert!(listing.is_cut);
    assert_eq!(listing.folders.len(), 5);
}

fn named(path: &Path) -> NamedFolder {
    NamedFolder { name: "m".parse().unwrap(), path: path.to_owned() }
}

#[track_caller]
fn check_named(files: &[&str], expected: Result<&[(u64, &str)], &str>) {
    let root = tree(files);
    let folder = named(root.path()).read();
    let found: Vec<_> = folder
        .versions
        .iter()
        .map(|it| (it.version.0, it.file.strip_prefix(root.path()).unwrap().to_str().unwrap()))
        .collect();
    match expected {
        Ok(expected) => assert_eq!((&*found, folder.problem), (expected, None)),
        Err(expected) => assert_eq!(folder.problem.as_deref(), Some(expected), "{found:?}"),
    }
}

#[test]
fn a_named_folder_holds_one_model_in_any_of_three_ways() {
    check_named(&["model.pt", "model.toml"], Ok(&[(1, "model.pt")]));
    check_named(&["1/model.pt", "12/model.pt"], Ok(&[(1, "1/model.pt"), (12, "12/model.pt")]));
    check_named(&["resnet.pt", "labels.txt"], Ok(&[(1, "resnet.pt")]));
    check_named(&["model.pt", "other.pt"], Ok(&[(1, "model.pt")]));
    check_named(&["model.pt2"], Ok(&[(1, "model.pt2")]));
    check_named(&["resnet.pt2"], Ok(&[(1, "resnet.pt2")]));
    check_named(&["resnet.pt", "resnet.pt2"], Ok(&[(1, "resnet.pt")]));
    check_named(&["1/model.pt2"], Ok(&[(1, "1/model.pt2")]));
    check_named(&["2/model.pt", "model.pt"], Ok(&[(2, "2/model.pt")]));
    check_named(&["digits/model.toml", "digits/3/model.pt"], Ok(&[(3, "digits/3/model.pt")]));
    check_named(&["digits/digits.pt"], Ok(&[(1, "digits/digits.pt")]));
    let expected = "expected a folder with model.pt, 1/model.pt or one file *.pt, found";
    check_named(&["a.pt", "b.pt"], Err(&format!("{expected} a.pt, b.pt")));
    check_named(&["a.onnx"], Err(&format!("{expected} a.onnx")));
    check_named(&["config.json"], Err(&format!("{expected} nothing of the kind")));
    check_named(&["a/1/model.pt", "b/1/model.pt"], Err(&format!("{expected} a/1/model.pt")));
    check_named(
        &["1/resnet.pt"],
        Err(&format!("{expected} folder m/1 is not served: it holds resnet.pt, expected model.pt")),
    );
}

#[test]
fn named_folders_go_before_the_models_folder() {
    let root = tree(&["models/m/1/model.pt", "models/n/1/model.pt", "elsewhere/7/model.pt"]);
    let (models, elsewhere) = (root.path().join("models"), root.path().join("elsewhere"));
    let both = scan(&models, &[named(&elsewhere)]).unwrap();
    let found: Vec<_> =
        both.models.iter().map(|it| (it.name.as_str(), it.versions[0].version.0)).collect();
    assert_eq!(found, [("m", 7), ("n", 1)]);
    assert_eq!(
        both.ignored,
        ["folder m of the models folder is not served: another one is named for the model"]
    );
    let name = "m".parse().unwrap();
    let folder = find(&models, &[named(&elsewhere)], &name).unwrap();
    assert_eq!(folder.path, elsewhere);
    let absent = scan(Path::new("does/not/exist"), &[named(&elsewhere)]).unwrap();
    assert_eq!(absent.models.len(), 1);
    // The same folder both ways is one model, under the name that was given.
    let same = scan(&elsewhere, &[named(&elsewhere)]).unwrap();
    assert_eq!((same.models.len(), same.ignored.len()), (1, 0));
    let inner = scan(&models, &[named(&models.join("n"))]).unwrap();
    assert_eq!(inner.models.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_named_folder_may_come_late_and_through_links() {
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink("real", &link).unwrap();
    let late = named(&link);
    assert!(late.is_to_come(), "a link that leads nowhere is to come");
    assert_eq!(late.read().problem.as_deref(), Some("its folder is not there"));
    fs::create_dir(root.path().join("real")).unwrap();
    assert!(late.is_to_come(), "an empty mount is to come");
    fs::write(root.path().join("real/model.pt"), "x").unwrap();
    assert!(!late.is_to_come());
    assert_eq!(late.read().versions.len(), 1);
    let file = named(&link.join("model.pt"));
    assert!(!file.is_to_come());
    assert_eq!(
        file.read().versions[0].file,
        file.path,
        "a file in the folder's place is the model"
    );
}
