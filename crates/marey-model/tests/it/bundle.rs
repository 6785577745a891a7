//! Saved and loaded, or refused with the reason.

use std::{error::Error as _, fs, path::Path};

use burn::{module::Module, tensor::Device};
use marey_clip::{ClassList, Sampling, rng_for};
use marey_model::{
    Answering, Arch, Bundle, Card, CardFigure, DataSummary, EnsembleCard, Error, ModelConfig,
    Provenance, Rejection,
};
use marey_transform::{Preprocess, Resize};

use crate::hashed::{clips, values};

pub(crate) fn bundle(seed: u64) -> Bundle {
    let mut config = ModelConfig {
        width: Some(0.05),
        ..ModelConfig::new(Arch::R3d18)
    };
    let device = Device::flex().autodiff();
    let model = config
        .init(2, &mut rng_for(seed, 0, 0, 0), &device)
        .expect("valid");
    // Running statistics that are not the initial ones.
    model.forward(clips([2, 2, 32, 32, 3], &device));
    config.weights = Some("somewhere/private/start.pth".into());
    let classes = ClassList::new(vec!["up".into(), "down \"left\"".into()]).expect("two");
    let provenance = Provenance {
        recipe: "demo".into(),
        run: "demo-1".into(),
        marey_version: "0.1.0".into(),
        created: "2026-11-23T05:30:00Z".into(),
        initial_weights: None,
        precision: "bf16".into(),
        data: DataSummary {
            name: "motion".into(),
            train: 8,
            validation: 4,
            test: 4,
            split: "column split".into(),
        },
    };
    let preprocess = Preprocess::new([32, 32], Resize::ShortSide);
    let mut card = Card::new(
        config,
        classes,
        Sampling::dense(2, 3).with_views(2),
        preprocess,
        provenance,
    );
    let interval = Some([0.25, 0.875]);
    card.figures.push(CardFigure {
        name: "test/top1".into(),
        value: 0.75,
        interval,
        support: 4,
        baseline: Some(0.5),
    });
    Bundle::new(model, card)
}

fn check_refused(dir: &Path, parts: &[&str]) -> Error {
    let error = Bundle::load(dir, &Device::flex()).expect_err("refused");
    let message = format!("{error}: {}", error.source().expect("a kind"));
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    error
}

fn edit_card(dir: &Path, from: &str, to: &str) {
    let path = dir.join("card.toml");
    let text = fs::read_to_string(&path).expect("a card");
    assert!(text.contains(from), "no `{from}` in:\n{text}");
    fs::write(&path, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn a_loaded_bundle_is_the_saved_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("runs/demo-1/bundle");
    fs::create_dir_all(path.parent().expect("inside")).expect("made");
    let saved = bundle(1);
    saved.save(&path).expect("saved");
    let loaded = Bundle::load(&path, &Device::flex().autodiff()).expect("loaded");
    assert_eq!(loaded.card(), saved.card());
    assert_eq!(
        loaded.card().provenance.initial_weights.as_deref(),
        Some("start.pth")
    );
    assert!(
        loaded
            .model()
            .devices()
            .iter()
            .all(|device| !device.is_autodiff())
    );
    let input = || clips([2, 3, 32, 32, 3], &Device::flex());
    assert_eq!(
        values(loaded.model().forward(input())),
        values(saved.model().valid().forward(input()))
    );
    let names: Vec<_> = fs::read_dir(path.parent().expect("inside"))
        .expect("listed")
        .collect();
    assert_eq!(
        names.len(),
        1,
        "nothing is left beside the bundle: {names:?}"
    );
}

#[test]
fn a_bundle_is_replaced_whole_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    bundle(1).save(&path).expect("saved");
    bundle(2).save(&path).expect("replaced");
    let input = || clips([1, 2, 32, 32, 3], &Device::flex());
    let loaded = Bundle::load(&path, &Device::flex()).expect("loaded");
    assert_eq!(
        values(loaded.model().forward(input())),
        values(bundle(2).model().valid().forward(input()))
    );

    let photos = dir.path().join("photos");
    fs::create_dir(&photos).expect("made");
    fs::write(photos.join("cat.png"), "x").expect("written");
    let error = bundle(1).save(&photos).expect_err("not a bundle");
    assert!(
        error.kind().to_string().contains("is not a bundle"),
        "{:?}",
        error.kind()
    );
    assert_eq!(fs::read_dir(&photos).expect("listed").count(), 1);
}

#[test]
fn a_save_that_fails_leaves_the_bundle_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    bundle(1).save(&path).expect("saved");
    // A file where the new folder is to be made: the save cannot even begin.
    fs::write(dir.path().join(".bundle.new"), "in the way").expect("written");
    bundle(2).save(&path).expect_err("no folder to write to");
    let input = || clips([1, 2, 32, 32, 3], &Device::flex());
    let loaded = Bundle::load(&path, &Device::flex()).expect("the one before");
    assert_eq!(
        values(loaded.model().forward(input())),
        values(bundle(1).model().valid().forward(input()))
    );
}

#[test]
fn a_crash_between_the_renames_of_a_save_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    bundle(1).save(&path).expect("saved");
    fs::rename(&path, dir.path().join(".bundle.old")).expect("renamed");
    let loaded = Bundle::load(&path, &Device::flex()).expect("the one before");
    assert_eq!(loaded.card(), bundle(1).card());
    bundle(2).save(&path).expect("saved again");
    let names: Vec<_> = fs::read_dir(dir.path()).expect("listed").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn bundles_that_cannot_be_trusted_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    let fresh = || bundle(1).save(&path).expect("saved");
    check_refused(&path, &["no card.toml"]);

    fresh();
    edit_card(
        &path,
        "format_version = 2",
        "format_version = 7\nfuture = 1",
    );
    check_refused(
        &path,
        &[
            "card.toml",
            "format version 7",
            "reads version 2",
            "update this program",
        ],
    );

    fresh();
    edit_card(&path, "mean = [", "mean = [0.5, 0.5, 0.5]\nold = [");
    check_refused(&path, &["unknown field `old`"]);

    fresh();
    edit_card(&path, "resize = \"short_side\"", "resize = \"stretch\"");
    check_refused(&path, &["fingerprint", "the card was edited", "(0.1.0)"]);

    fresh();
    edit_card(&path, "width = 0.05", "width = 0.2");
    let error = check_refused(
        &path,
        &[
            "`stem.0.weight` has shape [8, 3, 7, 7, 3]",
            "has [16, 3, 7, 7, 3]",
        ],
    );
    assert_eq!(error.path(), Some(path.join("model.safetensors").as_path()));

    fresh();
    edit_card(&path, "arch = \"r3d_18\"", "arch = \"efficientnet_b0\"");
    check_refused(
        &path,
        &[
            "do not belong to this model",
            "backbone.backbone.conv_stem.weight",
            "layer1.0.conv1.0.weight",
        ],
    );

    fresh();
    let weights = path.join("model.safetensors");
    let bytes = fs::read(&weights).expect("weights");
    fs::write(&weights, &bytes[..bytes.len() - 4]).expect("written");
    check_refused(&path, &["model.safetensors", "no safetensors"]);

    fs::remove_file(&weights).expect("removed");
    check_refused(&path, &["no model.safetensors"]);
}

#[test]
fn an_ensemble_is_bundles_in_a_folder_and_refused_where_it_cannot_be_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("together");
    let [a, b] = [bundle(1), bundle(2)];
    let cards = [a.card(), b.card()];
    let answer = Answering {
        rejection: Some(Rejection {
            below: 0.5,
            rule: "given".into(),
        }),
        fitted_for: Some(EnsembleCard::fingerprint(&cards)),
        ..Answering::default()
    };
    let members = [("1-demo".to_owned(), &a), ("2-demo".to_owned(), &b)];
    EnsembleCard::save(&path, &members, &answer).expect("saved");
    let find = || EnsembleCard::find(&path);
    let (card, dirs) = find().expect("sound").expect("an ensemble");
    assert_eq!((card.members.len(), &card.answer), (2, &answer));
    let loaded = Bundle::load(&dirs[1], &Device::flex()).expect("a bundle");
    assert_eq!(loaded.card(), b.card());
    assert!(card.check(&path, &cards).is_ok());
    // What was fitted for these members means nothing for one of them twice.
    let refused = |error: Error| error.source().expect("a kind").to_string();
    let other = card.check(&path, &[a.card()]).expect_err("other members");
    assert!(refused(other).contains("marey calibrate"));
    // A bundle is no ensemble.
    assert!(EnsembleCard::find(&dirs[0]).expect("sound").is_none());
    let file = path.join("ensemble.toml");
    let text = fs::read_to_string(&file).expect("a card");
    for (from, to, part) in [
        ("format_version = 1", "format_version = 9", "version 9"),
        ("\"2-demo\"", "\"../2-demo\"", "names of two folders"),
        ("\n    \"2-demo\",", "", "names of two folders"),
        (
            "format_version = 1",
            "format_version = 1\nfuture = 1",
            "future",
        ),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).expect("written");
        let error = refused(find().expect_err(part));
        assert!(error.contains(part), "{error}");
    }
}
