//! Order, determinism, unreadable items, shutdown.

use std::{path::PathBuf, sync::Arc};

use marey_clip::{ClassList, Sampling, Span, Timestamp};
use marey_data::{
    Batch, Dataset, Frames, Item, Loader, LoaderConfig, Order, SamplerConfig, Split, Unreadable,
};
use marey_media::OpenOptions;
use marey_transform::{
    Affine, Augment, CoarseDropout, ColorJitter, Fog, GaussianBlur, GaussianNoise, Preprocess,
    Rain, RandAugment, RandomErasing, RandomResizedCrop, Resize, Shadow, Snow, SpatialViews,
};

use crate::fixtures::{ARRAY_FPS, array, folder, write};

/// `num` arrays of 20 frames, as items of two classes; frame `i` of item `n` is of the value `10 * n + i`.
pub(crate) fn dataset(dir: &std::path::Path, num: usize) -> Dataset {
    let item = |idx: usize| Item {
        id: format!("{idx}"),
        source: array(&dir.join(format!("{idx}.npy")), 20, 10 * idx as u8),
        span: None,
        label: idx % 2,
        group: None,
        split: Some(Split::Train),
        metadata: Default::default(),
    };
    Dataset {
        classes: ClassList::new(vec!["even".into(), "odd".into()]).expect("two names"),
        items: (0..num).map(item).collect(),
        notes: Vec::new(),
        accepted_leak: None,
    }
}

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig {
        batch: 3,
        workers,
        prefetch: 1,
        seed: 5,
        drop_last: false,
    }
}

fn loader(dataset: &Arc<Dataset>, config: LoaderConfig) -> Loader {
    let indices = (0..dataset.items.len()).collect();
    let preprocess = Preprocess::new([4, 5], Resize::Stretch);
    let frames = Frames::Files(OpenOptions::default());
    Loader::new(
        dataset.clone(),
        indices,
        Sampling::dense(4, 2),
        preprocess,
        config,
        frames,
    )
    .expect("valid settings")
}

fn augment() -> Augment {
    let random_resized_crop = Some(RandomResizedCrop::default());
    Augment {
        random_resized_crop,
        flip: 0.5,
        ..Augment::default()
    }
}

fn epoch(loader: &Loader, epoch: u64, skip: usize) -> Vec<Batch> {
    let batches = loader.train_epoch(epoch, &augment(), Order::Shuffled, skip);
    batches.collect::<Result<_, _>>().expect("readable arrays")
}

#[test]
fn any_number_of_workers_gives_the_same_batches() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 10));
    let alone = epoch(&loader(&dataset, config(0)), 2, 0);
    assert_eq!(
        alone.iter().map(|batch| batch.dims[0]).collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
    assert_eq!(alone[0].dims, [3, 4, 4, 5, 3]);
    let mut items: Vec<usize> = alone.iter().flat_map(|batch| batch.items.clone()).collect();
    assert_ne!(items, (0..10).collect::<Vec<_>>(), "an epoch is shuffled");
    items.sort_unstable();
    assert_eq!(items, (0..10).collect::<Vec<_>>(), "every item once");
    for workers in [1, 2, 7] {
        assert_eq!(
            epoch(&loader(&dataset, config(workers)), 2, 0),
            alone,
            "{workers} workers"
        );
    }
    assert_ne!(
        epoch(&loader(&dataset, config(2)), 3, 0),
        alone,
        "another epoch differs"
    );
}

/// Everything that training can change about a clip.
fn all_changes() -> Augment {
    Augment {
        autocontrast: 0.5,
        grayscale: 0.5,
        affine: Some(Affine {
            degrees: 10.0,
            ..Affine::default()
        }),
        rand_augment: Some(RandAugment::default()),
        color_jitter: Some(ColorJitter {
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.3,
            hue: 0.1,
        }),
        shadow: Some(Shadow::default()),
        rain: Some(Rain {
            blur: 3,
            ..Rain::default()
        }),
        snow: Some(Snow::default()),
        fog: Some(Fog::default()),
        gaussian_blur: Some(GaussianBlur::default()),
        gaussian_noise: Some(GaussianNoise {
            each_frame: true,
            ..GaussianNoise::default()
        }),
        coarse_dropout: Some(CoarseDropout::default()),
        random_erasing: Some(RandomErasing::default()),
        ..augment()
    }
}

#[test]
fn an_augmented_clip_depends_on_seed_epoch_and_item_only() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 8));
    let clips = |workers, order: &[usize], epoch| {
        let loader = loader(&dataset, config(workers));
        let batches = loader.train_epoch(epoch, &all_changes(), Order::Given(order), 0);
        let batches: Vec<Batch> = batches.collect::<Result<_, _>>().expect("readable arrays");
        let mut clips: Vec<(usize, Vec<u8>)> = Vec::new();
        for batch in batches {
            let pixels = batch.pixels.chunks_exact(4 * 4 * 5 * 3).map(<[u8]>::to_vec);
            clips.extend(batch.items.iter().copied().zip(pixels));
        }
        clips.sort();
        clips
    };
    let forward = clips(0, &[0, 1, 2, 3, 4, 5, 6, 7], 3);
    assert_eq!(clips(3, &[6, 2, 7, 0, 5, 3, 1, 4], 3), forward);
    let other = clips(3, &[0, 1, 2, 3, 4, 5, 6, 7], 4);
    let same = forward.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same < 2, "{same} of 8 clips are the same in another epoch");
}

#[test]
fn a_sampler_that_shuffles_is_the_loader_that_shuffles() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 10));
    let loader = loader(&dataset, config(1));
    let sampler = SamplerConfig::Shuffled {}
        .init(&dataset, loader.indices(), 5)
        .expect("valid");
    let order = sampler.epoch(2);
    let given: Vec<Batch> = loader
        .train_epoch(2, &augment(), Order::Given(&order), 0)
        .collect::<Result<_, _>>()
        .expect("readable arrays");
    assert_eq!(given, epoch(&loader, 2, 0));
}

#[test]
fn a_resumed_epoch_goes_on_where_it_stopped() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 10));
    let loader = loader(&dataset, config(2));
    let whole = epoch(&loader, 4, 0);
    for skip in 0..=5 {
        let rest = epoch(&loader, 4, skip);
        assert_eq!(
            rest[..],
            whole[skip.min(whole.len())..],
            "{skip} batches left out"
        );
    }
}

#[test]
fn a_batch_holds_the_frames_and_labels_of_its_items() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 4));
    let loader = loader(&dataset, config(2));
    for batch in loader.train_epoch(0, &Augment::default(), Order::Given(&[3, 1]), 0) {
        let batch = batch.expect("readable arrays");
        assert_eq!(
            (&batch.items[..], &batch.targets[..], batch.idx),
            (&[3, 1][..], &[1, 1][..], 0)
        );
        let first: Vec<u8> = batch
            .pixels
            .chunks_exact(4 * 5 * 3)
            .map(|frame| frame[0])
            .collect();
        for (item, frames) in [3, 1].iter().zip(first.chunks_exact(4)) {
            let start = frames[0] - 10 * item;
            assert!(start <= 20 - 7, "a dense clip begins where all of it fits");
            assert_eq!(frames, [0, 2, 4, 6].map(|step| 10 * item + start + step));
        }
    }
}

#[test]
fn an_item_that_occurs_twice_is_drawn_twice() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 4));
    let loader = loader(
        &dataset,
        LoaderConfig {
            batch: 8,
            ..config(2)
        },
    );
    let order = [2; 8];
    let batch = loader
        .train_epoch(0, &augment(), Order::Given(&order), 0)
        .next()
        .expect("a batch")
        .expect("readable");
    let clips: std::collections::HashSet<&[u8]> =
        batch.pixels.chunks_exact(4 * 4 * 5 * 3).collect();
    assert!(clips.len() > 3, "{} different clips", clips.len());
}

#[test]
fn views_of_an_item_stay_together() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 3));
    let preprocess = Preprocess::new([4, 5], Resize::Stretch);
    let sampling = Sampling::dense(4, 1).with_views(2);
    let frames = Frames::Files(OpenOptions::default());
    let config = LoaderConfig {
        batch: 5,
        ..config(2)
    };
    let loader = Loader::new(dataset, vec![2, 0, 1], sampling, preprocess, config, frames)
        .expect("valid settings");
    let batches: Vec<Batch> = loader
        .views()
        .collect::<Result<_, _>>()
        .expect("readable arrays");
    let items: Vec<_> = batches.iter().map(|batch| batch.items.clone()).collect();
    assert_eq!(items, [vec![2, 2, 0, 0], vec![1, 1]]);
    let frame = |clip: usize| batches[0].pixels[clip * 4 * 4 * 5 * 3];
    assert_eq!(
        (frame(0), frame(1)),
        (20, 20 + 16),
        "the first and the last four frames"
    );
}

#[test]
fn every_view_comes_as_its_crops_and_mirror_images() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 3));
    let loader = || {
        Loader::new(
            dataset.clone(),
            vec![2, 0, 1],
            Sampling::dense(4, 1).with_views(2),
            Preprocess::new([4, 5], Resize::Stretch),
            LoaderConfig {
                batch: 8,
                ..config(2)
            },
            Frames::Files(OpenOptions::default()),
        )
        .expect("valid settings")
    };
    let mirrors = SpatialViews {
        crops: 1,
        flip: true,
    };
    let batches = loader().with_spatial(mirrors).expect("valid").views();
    let items: Vec<_> = batches
        .map(|batch| batch.expect("readable arrays").items)
        .collect();
    assert_eq!(items, [[2, 2, 2, 2, 0, 0, 0, 0].to_vec(), vec![1; 4]]);
    let crops = SpatialViews {
        crops: 3,
        flip: false,
    };
    let error = loader().with_spatial(crops).expect_err("all is in view");
    assert!(error.to_string().contains("has no effect"), "{error}");
}

#[test]
fn a_span_is_all_that_is_seen_of_a_source() {
    let dir = folder();
    let mut dataset = dataset(dir.path(), 2);
    let at = |frame: usize| Timestamp::from_nanos((frame * 1_000_000_000 / ARRAY_FPS) as i64);
    dataset.items[1].span = Span::new(at(6), at(9));
    let dataset = Arc::new(dataset);
    let sampling = Sampling::dense(4, 1);
    let preprocess = Preprocess::new([1, 1], Resize::Stretch);
    let frames = Frames::Files(OpenOptions::default());
    let loader = Loader::new(dataset, vec![1], sampling, preprocess, config(1), frames)
        .expect("valid settings");
    let batch = loader.views().next().expect("a batch").expect("readable");
    let first: Vec<u8> = batch.pixels.chunks_exact(3).map(|pixel| pixel[0]).collect();
    assert_eq!(first, [16, 17, 18, 18], "the last frame is repeated");
}

#[test]
fn an_unreadable_item_stops_the_epoch_or_is_listed() {
    let dir = folder();
    let mut dataset = dataset(dir.path(), 7);
    dataset.items[4].source = write(&dir.path().join("broken.mp4"), b"not a video at all");
    dataset.items[5].source = PathBuf::from("nowhere.mp4");
    let dataset = Arc::new(dataset);
    for workers in [0, 3] {
        let loader = loader(&dataset, config(workers));
        let mut batches = loader.train_epoch(0, &augment(), Order::Sequential, 0);
        assert!(batches.next().expect("items 0 to 2").is_ok());
        let error = batches
            .next()
            .expect("items 3 to 5")
            .expect_err("item 4 is broken");
        assert_eq!(
            error.path(),
            dataset.items[4].source,
            "the first in order, whichever worker was first"
        );
        assert!(batches.next().is_none(), "an error is the end");

        let loader = loader.with_unreadable(Unreadable::Skip);
        let batches = loader.train_epoch(0, &augment(), Order::Sequential, 0);
        let batches: Vec<Batch> = batches
            .collect::<Result<_, _>>()
            .expect("broken items are left out");
        let items: Vec<_> = batches
            .iter()
            .map(|batch| (batch.idx, batch.items.clone()))
            .collect();
        assert_eq!(items, [(0, vec![0, 1, 2]), (1, vec![3]), (2, vec![6])]);
        let skipped = loader.skipped();
        assert_eq!(
            skipped
                .iter()
                .map(|skipped| skipped.item)
                .collect::<Vec<_>>(),
            [4, 5]
        );
        assert!(skipped[1].reason.contains("nowhere.mp4"), "{skipped:?}");
    }
}

#[test]
fn an_epoch_without_a_readable_item_is_an_error() {
    let dir = folder();
    let mut dataset = dataset(dir.path(), 2);
    for item in &mut dataset.items {
        item.source = PathBuf::from("nowhere.mp4");
    }
    let loader = loader(&Arc::new(dataset), config(2)).with_unreadable(Unreadable::Skip);
    let mut batches = loader.train_epoch(0, &augment(), Order::Shuffled, 0);
    assert!(batches.next().expect("an error").is_err());
}

#[test]
fn a_clip_that_does_not_fit_the_settings_is_never_skipped() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 2));
    let mut preprocess = Preprocess::new([4, 5], Resize::Stretch);
    preprocess.temperature = Some([5.0, 45.0]);
    let frames = Frames::Files(OpenOptions::default());
    let loader = Loader::new(
        dataset,
        vec![0, 1],
        Sampling::dense(4, 2),
        preprocess,
        config(2),
        frames,
    )
    .expect("valid settings")
    .with_unreadable(Unreadable::Skip);
    let error = loader
        .views()
        .next()
        .expect("an error")
        .expect_err("light is no temperature")
        .to_string();
    assert!(error.contains("preprocess.temperature is set"), "{error}");
}

#[test]
fn dropping_an_epoch_ends_its_threads() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 12));
    let loader = loader(&dataset, config(4));
    for _ in 0..20 {
        let mut batches = loader.train_epoch(0, &augment(), Order::Shuffled, 0);
        assert!(batches.next().expect("a batch").is_ok());
    }
    drop(loader);
    // A worker holds the data set; one that has been joined holds nothing.
    assert_eq!(Arc::strong_count(&dataset), 1);
}

#[test]
fn an_incomplete_last_batch_can_be_left_out() {
    let dir = folder();
    let dataset = Arc::new(dataset(dir.path(), 7));
    let loader = loader(
        &dataset,
        LoaderConfig {
            drop_last: true,
            ..config(1)
        },
    );
    assert_eq!(loader.num_batches(7), 2);
    assert_eq!(epoch(&loader, 0, 0).len(), 2);
}
