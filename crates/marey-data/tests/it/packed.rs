//! The packed store.

use std::{fs, path::Path, sync::Arc};

use marey_clip::Sampling;
use marey_data::{
    Batch, Dataset, Error, Frames, Loader, LoaderConfig, Order, PackConfig, PackReport,
    PackedStore, Unreadable, pack,
};
use marey_media::OpenOptions;
use marey_transform::{Augment, Preprocess, Resize};

use crate::{
    fixtures::{array, folder, write},
    loader::dataset,
};

fn preprocess() -> Preprocess {
    Preprocess {
        short_side: Some(6),
        ..Preprocess::new([4, 5], Resize::ShortSide)
    }
}

fn store(
    dataset: &Dataset,
    path: &Path,
    sampling: &Sampling,
    unreadable: Unreadable,
) -> Result<PackReport, Error> {
    let config = PackConfig {
        path: path.to_owned(),
        workers: 2,
        unreadable,
        open: OpenOptions::default(),
    };
    pack(dataset, sampling, &preprocess(), &config, &mut |_| {})
}

fn loader(dataset: &Arc<Dataset>, sampling: &Sampling, frames: Frames) -> Result<Loader, Error> {
    let config = LoaderConfig {
        batch: 2,
        workers: 2,
        ..LoaderConfig::default()
    };
    let indices = (0..dataset.items.len()).collect();
    Loader::new(
        dataset.clone(),
        indices,
        sampling.clone(),
        preprocess(),
        config,
        frames,
    )
}

fn open(path: &Path) -> Frames {
    Frames::Packed(Arc::new(PackedStore::open(path).expect("a whole store")))
}

fn batches(loader: &Loader) -> Vec<Batch> {
    let augment = Augment {
        random_crop: true,
        flip: 0.5,
        ..Augment::default()
    };
    let train = loader.train_epoch(1, &augment, Order::Shuffled, 0);
    train
        .chain(loader.views())
        .collect::<Result<_, _>>()
        .expect("readable")
}

#[test]
fn a_store_gives_the_batches_of_the_files() {
    for sampling in [
        Sampling::dense(4, 2).with_views(2),
        Sampling::uniform(5),
        Sampling::centered(6, 1),
    ] {
        let dir = folder();
        let dataset = Arc::new(dataset(dir.path(), 5));
        let path = dir.path().join("store.marey");
        let report =
            store(&dataset, &path, &sampling, Unreadable::Stop).expect("a writable folder");
        assert_eq!(report.sources, 5);
        assert_eq!(report.size_bytes, path.metadata().expect("the store").len());
        let files = loader(&dataset, &sampling, Frames::Files(OpenOptions::default()))
            .expect("valid settings");
        let packed = loader(&dataset, &sampling, open(&path)).expect("the same data and settings");
        assert_eq!(batches(&packed), batches(&files), "{sampling:?}");
    }
}

#[test]
fn only_frames_that_may_be_picked_are_kept() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 3));
    let path = dir.path().join("store.marey");
    let report = store(&dataset, &path, &Sampling::centered(6, 1), Unreadable::Stop)
        .expect("a writable folder");
    assert_eq!(report.frames, 3 * 6);
    let wider =
        loader(&dataset, &Sampling::dense(4, 2), open(&path)).expect("the same data and settings");
    let mut epoch = wider.train_epoch(0, &Augment::default(), Order::Sequential, 0);
    let error = epoch
        .find_map(Result::err)
        .expect("frames are missing")
        .to_string();
    assert!(error.contains("packed for another sampling"), "{error}");
}

#[test]
fn a_store_of_something_else_is_refused() {
    let dir = folder();
    let data = Arc::new(dataset(dir.path(), 3));
    let path = dir.path().join("store.marey");
    let sampling = Sampling::uniform(4);
    store(&data, &path, &sampling, Unreadable::Stop).expect("a writable folder");
    let refused = |dataset: &Dataset, preprocess: &Preprocess| {
        PackedStore::open(&path)
            .expect("a whole store")
            .check(dataset, preprocess)
            .expect_err("another")
            .to_string()
    };
    let other_size = Preprocess {
        size: [5, 5],
        ..preprocess()
    };
    assert!(refused(&data, &other_size).contains("packed with other preprocessing"));
    let fewer = Dataset {
        items: data.items[..2].to_vec(),
        ..(*data).clone()
    };
    assert!(refused(&fewer, &preprocess()).contains("another list of items"));
    let other_mean = Preprocess {
        mean: [0.5; 3],
        ..preprocess()
    };
    let same = PackedStore::open(&path)
        .expect("a whole store")
        .check(&data, &other_mean);
    assert!(same.is_ok(), "the mean comes after the store");
    array(&data.items[1].source, 21, 0);
    assert!(refused(&data, &preprocess()).contains("has changed since it was packed"));
}

#[test]
fn a_damaged_store_is_refused() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 2));
    let path = dir.path().join("store.marey");
    store(&dataset, &path, &Sampling::uniform(4), Unreadable::Stop).expect("a writable folder");
    let whole = fs::read(&path).expect("the store");
    for (what, bytes) in [
        ("cut short", whole[..whole.len() - 1].to_vec()),
        ("cut in the header", whole[..40].to_vec()),
        ("changed in the index", {
            let mut bytes = whole.clone();
            *bytes.last_mut().expect("not empty") ^= 1;
            bytes
        }),
        ("no store", b"path,label\n".to_vec()),
        ("empty", Vec::new()),
    ] {
        fs::write(&path, bytes).expect("a writable file");
        assert!(PackedStore::open(&path).is_err(), "{what}");
    }
}

#[test]
fn a_source_that_cannot_be_decoded_leaves_nothing_or_is_listed() {
    let dir = folder();
    let mut data = dataset(dir.path(), 3);
    data.items[1].source = write(&dir.path().join("broken.mp4"), b"not a video at all");
    let data = Arc::new(data);
    let out = folder();
    let path = out.path().join("store.marey");
    let sampling = Sampling::uniform(4);
    let error = store(&data, &path, &sampling, Unreadable::Stop).expect_err("a broken source");
    assert_eq!(error.path(), data.items[1].source);
    assert_eq!(
        out.path().read_dir().expect("the folder").count(),
        0,
        "nothing is left behind"
    );

    let report = store(&data, &path, &sampling, Unreadable::Skip).expect("the others are whole");
    assert_eq!(
        report
            .skipped
            .iter()
            .map(|skipped| skipped.item)
            .collect::<Vec<_>>(),
        [1]
    );
    let loader = loader(&data, &sampling, open(&path))
        .expect("valid settings")
        .with_unreadable(Unreadable::Skip);
    let items: Vec<usize> = loader
        .views()
        .flat_map(|batch| batch.expect("readable").items)
        .collect();
    assert_eq!(items, [0, 2]);
    assert!(
        loader.skipped()[0].reason.contains("when it was packed"),
        "{:?}",
        loader.skipped()
    );
}

#[test]
fn a_folder_that_is_not_there_shows_before_anything_is_decoded() {
    let dir = folder();
    let dataset = dataset(dir.path(), 2);
    let path = dir.path().join("nowhere/store.marey");
    let error = store(&dataset, &path, &Sampling::uniform(4), Unreadable::Stop)
        .expect_err("no such folder");
    assert!(
        error.to_string().contains("cannot write the file"),
        "{error}"
    );
}
