//! The room as a whole, over a store in memory that fails as it is told to: what is visible is whole, nothing is brought
//! twice, and no fault of the store takes away what serves.

mod dav;
mod faulty;
mod house;

use super::connect::Remote;
use super::error::StoreError;
use super::fetch::hex;
use super::scrub::Secrets;
use super::stats::Stats;
use super::*;
use faulty::Faulty;
use house::{House, open};
use object_store::path::Path as ObjectPath;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const DIGITS: &[(&str, &str)] = &[
    ("digits/1/labels.txt", "zero"),
    ("digits/1/model.pt", "weights of one"),
    ("digits/model.toml", "about"),
];

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[tokio::test]
async fn what_is_in_the_store_comes_once() {
    let mut house = House::with_digits().await;
    house.put("README.md", "for people").await;
    assert!(!house.syncer.has_versions());
    assert_eq!(house.good_sync().await.changes.len(), 2);
    house.sees(DIGITS);
    assert!(house.syncer.has_versions());
    assert_eq!(house.stats.downloaded_bytes.load(Ordering::Relaxed), 23);
    house.has_no_leftovers();
    assert_eq!(house.store.take_gets().len(), 3);
    assert!(house.good_sync().await.changes.is_empty());
    house.restart();
    assert!(house.good_sync().await.changes.is_empty());
    house.got(&[]);
}

#[tokio::test]
async fn what_changed_comes_and_the_rest_stays() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    house.store.take_gets();
    house.put("digits/1/model.pt", "other weights").await;
    house.put("digits/2/model.pt", "weights of two").await;
    house.good_sync().await;
    house.got(&[("models/digits/1/model.pt", 0), ("models/digits/2/model.pt", 0)]);
    house.sees(&[
        ("digits/1/labels.txt", "zero"),
        ("digits/1/model.pt", "other weights"),
        ("digits/2/model.pt", "weights of two"),
        ("digits/model.toml", "about"),
    ]);
    house.has_no_leftovers();
    house.restart();
    assert!(house.good_sync().await.changes.is_empty());
    house.got(&[]);
}

#[tokio::test]
async fn what_is_gone_goes_but_never_all() {
    let error = House::new().sync().await.unwrap_err();
    assert!(matches!(error, StoreError::Empty), "{error}");
    let mut house = House::with_digits().await;
    house.put("digits/2/model.pt", "weights of two").await;
    house.put("other/1/model.pt", "o").await;
    house.good_sync().await;
    for key in ["digits/1/model.pt", "digits/1/labels.txt", "other/1/model.pt"] {
        house.delete(key).await;
    }
    house.good_sync().await;
    let left = [("digits/2/model.pt", "weights of two"), ("digits/model.toml", "about")];
    house.sees(&left);
    house.delete("digits/2/model.pt").await;
    house.delete("digits/model.toml").await;
    let error = house.sync().await.unwrap_err();
    assert!(matches!(error, StoreError::Emptied), "{error}");
    house.sees(&left);
}

#[tokio::test]
async fn a_store_that_is_away_takes_nothing_away() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    house.restart();
    house.store.faults().is_away = true;
    assert!(house.syncer.has_versions(), "what came earlier must serve from the start");
    let error = house.sync().await.unwrap_err().to_string();
    assert_eq!(error, "the store failed: Generic faulty error: away");
    house.sees(DIGITS);
    house.store.faults().is_away = false;
    assert!(house.good_sync().await.changes.is_empty());
}

#[tokio::test]
async fn an_outage_in_the_middle_of_a_download_is_gone_on_after() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    house.put("digits/1/model.pt", "much larger weights").await;
    house.put("digits/1/labels.txt", "one").await;
    house.store.take_gets();
    house.store.faults().cut_after = Some(5);
    house.sync().await.unwrap_err();
    house.sees(DIGITS);
    house.restart();
    house.store.faults().cut_after = Some(4);
    house.sync().await.unwrap_err();
    house.sees(DIGITS);
    house.store.faults().cut_after = None;
    house.good_sync().await;
    let (labels, model) = ("models/digits/1/labels.txt", "models/digits/1/model.pt");
    // The smaller file was whole when its body was cut.
    house.got(&[(labels, 0), (model, 0), (model, 4)]);
    assert_eq!(house.visible()["digits/1/model.pt"], "much larger weights");
    house.has_no_leftovers();
}

#[tokio::test]
async fn without_ranges_a_download_begins_anew() {
    let mut house = House::with_digits().await;
    house.store.faults().cut_after = Some(2);
    house.sync().await.unwrap_err();
    house.sees(&[]);
    house.store.faults().cut_after = None;
    house.store.faults().has_no_ranges = true;
    house.good_sync().await;
    house.sees(DIGITS);
}

#[tokio::test]
async fn an_object_that_changes_on_the_way_is_not_taken() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    house.put("digits/1/model.pt", "second").await;
    let path = ObjectPath::from("models/digits/1/model.pt");
    house.store.faults().change_before_get = Some((path, b"third!"));
    let report = house.sync().await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    house.sees(DIGITS);
    house.good_sync().await;
    assert_eq!(house.visible()["digits/1/model.pt"], "third!");
    house.has_no_leftovers();
}

#[tokio::test]
async fn a_wrong_digest_is_not_taken_and_not_brought_again() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    let sums = format!("{}  model.pt\n", sha256("weights of two"));
    house.put("digits/2/SHA256SUMS", &sums).await;
    house.put("digits/2/model.pt", "weights of tow").await;
    house.put("other/1/model.pt", "others come all the same").await;
    house.store.take_gets();
    for _ in 0..2 {
        let problems = house.sync().await.unwrap().problems;
        let problem = problems[0].to_string();
        assert!(problem.starts_with("digits/2/model.pt: its SHA-256 is"), "{problem}");
        assert_eq!(problems.len(), 1);
        let expected = [DIGITS, &[("other/1/model.pt", "others come all the same")]].concat();
        house.sees(&expected);
    }
    house.got(&[
        ("models/digits/2/SHA256SUMS", 0),
        ("models/digits/2/model.pt", 0),
        ("models/other/1/model.pt", 0),
    ]);
    house.put("digits/2/model.pt", "weights of two").await;
    house.good_sync().await;
    assert_eq!(house.visible()["digits/2/model.pt"], "weights of two");
    house.got(&[("models/digits/2/model.pt", 0)]);
    house.has_no_leftovers();
}

#[tokio::test]
async fn a_version_that_is_still_uploaded_is_waited_for() {
    let mut house = House::with_digits().await;
    let sums = format!("{}  model.pt\n{}  golden.jsonl\n", sha256("two"), sha256("{}"));
    house.put("digits/2/SHA256SUMS", &sums).await;
    house.put("digits/2/model.pt", "two").await;
    let problem = house.sync().await.unwrap().problems[0].to_string();
    assert_eq!(problem, "digits/2/SHA256SUMS: it names \"golden.jsonl\", which is not there yet");
    house.sees(DIGITS);
    house.put("digits/2/golden.jsonl", "{}").await;
    house.good_sync().await;
    assert_eq!(house.visible()["digits/2/golden.jsonl"], "{}");
}

#[tokio::test]
async fn what_a_dead_process_left_is_used_or_removed() {
    let mut house = House::with_digits().await;
    // A first process brought everything and died before it moved anything in.
    house.good_sync().await;
    let folder = house.root();
    let parts: Vec<_> = listed(&house).await;
    for object in &parts {
        let from = house.options.models().join(&object.key);
        fs::copy(from, folder.join("staging/parts").join(fetch::part_name(object))).unwrap();
    }
    fs::remove_dir_all(folder.join("models")).unwrap();
    fs::remove_file(folder.join("index.json")).unwrap();
    fs::create_dir_all(folder.join("staging/fresh/digits@1")).unwrap();
    fs::write(folder.join("staging/fresh/digits@1/model.pt"), "half").unwrap();
    fs::create_dir_all(folder.join("staging/old/7/x")).unwrap();
    fs::write(folder.join("staging/parts/foreign.part"), "x").unwrap();
    house.restart();
    house.store.take_gets();
    house.good_sync().await;
    house.sees(DIGITS);
    house.got(&[]);
    house.has_no_leftovers();
}

async fn listed(house: &House) -> Vec<listing::Object> {
    let remote = Remote {
        store: Arc::<Faulty>::clone(&house.store),
        prefix: ObjectPath::from("models"),
        secrets: Secrets::default(),
    };
    let listing = listing::Listing::read(&remote).await.unwrap();
    let model = &listing.models["digits"];
    model.files.values().chain(model.versions[&1].values()).cloned().collect()
}

#[tokio::test]
async fn what_does_not_fit_the_index_comes_anew() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    let version = house.options.models().join("digits/1");
    fs::write(version.join("model.pt"), "weights of 0ne").unwrap();
    house.restart();
    house.good_sync().await;
    house.sees(DIGITS);
    fs::write(version.join("foreign.txt"), "x").unwrap();
    fs::write(house.options.models().join("digits/foreign.txt"), "x").unwrap();
    fs::create_dir(house.options.models().join("foreign")).unwrap();
    house.good_sync().await;
    house.sees(DIGITS);
    fs::write(house.root().join("index.json"), "{ this is no index").unwrap();
    house.restart();
    house.good_sync().await;
    house.sees(DIGITS);
}

#[tokio::test]
async fn a_link_is_replaced_and_not_followed() {
    let mut house = House::with_digits().await;
    let elsewhere = house.folder.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("1")).unwrap();
    fs::write(elsewhere.join("1/model.pt"), "not ours").unwrap();
    std::os::unix::fs::symlink(&elsewhere, house.options.models().join("digits")).unwrap();
    house.good_sync().await;
    house.sees(DIGITS);
    assert_eq!(fs::read_to_string(elsewhere.join("1/model.pt")).unwrap(), "not ours");
}

#[tokio::test]
async fn old_versions_make_room_and_what_serves_stays() {
    let mut house = House::new();
    house.options.cache_bytes = 20;
    house.restart();
    for version in 1..=3 {
        house.put(&format!("m/{version}/model.pt"), "ten bytes.").await;
    }
    house.good_sync().await;
    let ten = "ten bytes.";
    house.sees(&[("m/2/model.pt", ten), ("m/3/model.pt", ten)]);
    house.put("m/4/model.pt", ten).await;
    let in_use = BTreeSet::from([("m".to_owned(), 2)]);
    let report = house.syncer.sync(Some(&in_use), 7200).await.unwrap();
    assert!(report.problems.is_empty());
    house.sees(&[("m/2/model.pt", ten), ("m/4/model.pt", ten)]);
    house.put("m/5/model.pt", "far more than there is room for").await;
    let problems = house.syncer.sync(Some(&in_use), 7200).await.unwrap().problems;
    assert_eq!(problems[0].to_string(), "m/5: it has no room in store.cache_bytes");
    house.sees(&[("m/2/model.pt", ten), ("m/4/model.pt", ten)]);
}

#[tokio::test]
async fn a_file_has_a_bound() {
    let mut house = House::with_digits().await;
    house.put("digits/2/model.pt", &"x".repeat(1025)).await;
    let problems = house.sync().await.unwrap().problems;
    assert_eq!(
        problems[0].to_string(),
        "digits/2/model.pt: it has 1025 bytes, at most 1024 are taken"
    );
    house.sees(DIGITS);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_and_the_rest_comes() {
    let mut house = House::with_digits().await;
    for key in ["digits/01/model.pt", "a b/1/model.pt", "digits/1/deep/x", "digits/%2E%2E/x"] {
        house.put(key, "x").await;
    }
    house.good_sync().await;
    house.sees(DIGITS);
    assert_eq!(house.syncer.take_untold().len(), 4);
    house.good_sync().await;
    assert!(house.syncer.take_untold().is_empty(), "it must be told once");
}

#[tokio::test]
async fn a_key_that_is_no_path_concerns_its_model_alone() {
    let mut house = House::with_digits().await;
    house.put("other/1/model.pt", "o").await;
    house.good_sync().await;
    house.put("other/1/model.pt", "p").await;
    house.put("digits/1/labels.txt", "one").await;
    house.store.faults().odd_key_below = Some(ObjectPath::from("models/digits"));
    house.good_sync().await;
    house.sees(&[DIGITS, &[("other/1/model.pt", "p")]].concat());
}

#[tokio::test]
async fn one_process_keeps_a_folder_and_another_uses_it() {
    let mut house = House::with_digits().await;
    house.good_sync().await;
    let mut second = open(&house.store, &house.options, &house.stats);
    assert!(second.has_versions());
    let error = second.sync(None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Shared(_)), "{error}");
    drop(house.syncer);
    second.sync(None, 0).await.unwrap();
}

#[test]
fn who_waits_is_told_when_there_is_something_to_serve_or_nothing_comes() {
    let stats = Stats::default();
    stats.wait(Duration::ZERO);
    assert_eq!(stats.is_unsettled(), Some(None));
    stats.record(SyncOutcome::Failed, Some("away".into()), None);
    stats.wait(Duration::from_secs(60));
    assert_eq!(stats.is_unsettled(), Some(Some("away".into())));
    stats.record(SyncOutcome::Updated, None, Some(7));
    assert_eq!((stats.is_unsettled(), stats.last_success()), (None, 7));
    stats.record(SyncOutcome::Failed, Some("away".into()), None);
    assert_eq!(stats.is_unsettled(), None, "what came once serves on");
    assert_eq!([stats.syncs(SyncOutcome::Failed), stats.syncs(SyncOutcome::Updated)], [2, 1]);
}
