//! What the host pass costs a clip. Throughput is output pixels, so ns a pixel is the inverse.

use divan::{Bencher, counter::ItemsCount};
use marey_clip::{Clip, Pixels, Timestamp, rng_for};
use marey_transform::{
    Affine, Augment, CoarseDropout, ColorJitter, Fog, GaussianBlur, GaussianNoise, Preprocess,
    Rain, RandAugment, RandomErasing, RandomResizedCrop, Resize, Shadow, Snow, TrivialAugment,
    TvL1,
};

fn main() {
    divan::main();
}

fn clip(dims: [usize; 4]) -> Clip {
    let len = dims.iter().product::<usize>();
    let pixels = (0..len).map(|i| (i * 31 + i / 97 * 7) as u8).collect();
    Clip::new(dims, Pixels::U8(pixels), vec![Timestamp::ZERO; dims[0]])
}

const SOURCES: [[usize; 4]; 3] = [[16, 240, 320, 3], [16, 720, 1280, 3], [16, 112, 149, 3]];

fn pixels(preprocess: &Preprocess) -> ItemsCount {
    ItemsCount::new(16 * preprocess.size[0] * preprocess.size[1])
}

#[divan::bench(args = SOURCES)]
fn centre_crop(bencher: Bencher<'_, '_>, dims: [usize; 4]) {
    let (clip, preprocess) = (clip(dims), Preprocess::new([112, 112], Resize::ShortSide));
    bencher
        .counter(pixels(&preprocess))
        .bench_local(|| preprocess.spatial(&clip));
}

#[divan::bench(args = SOURCES)]
fn crop_flip(bencher: Bencher<'_, '_>, dims: [usize; 4]) {
    let augment = Augment {
        random_resized_crop: Some(RandomResizedCrop::default()),
        flip: 0.5,
        ..Augment::default()
    };
    random(bencher, dims, &augment);
}

#[divan::bench(args = SOURCES)]
fn crop_flip_brightness_contrast(bencher: Bencher<'_, '_>, dims: [usize; 4]) {
    let jitter = ColorJitter {
        brightness: 0.3,
        contrast: 0.3,
        ..ColorJitter::default()
    };
    let augment = Augment {
        random_resized_crop: Some(RandomResizedCrop::default()),
        flip: 0.5,
        color_jitter: Some(jitter),
        random_erasing: Some(RandomErasing::default()),
        ..Augment::default()
    };
    random(bencher, dims, &augment);
}

#[divan::bench(args = SOURCES)]
fn crop_flip_all_colours(bencher: Bencher<'_, '_>, dims: [usize; 4]) {
    let jitter = ColorJitter {
        brightness: 0.3,
        contrast: 0.3,
        saturation: 0.3,
        hue: 0.1,
    };
    let augment = Augment {
        random_resized_crop: Some(RandomResizedCrop::default()),
        flip: 0.5,
        color_jitter: Some(jitter),
        ..Augment::default()
    };
    random(bencher, dims, &augment);
}

/// Each change by itself, with certainty, on frames that are at the model's size already.
#[divan::bench(args = CHANGES.map(|(name, _)| name))]
fn one_change(bencher: Bencher<'_, '_>, name: &str) {
    let change = CHANGES.iter().find(|(known, _)| *known == name);
    let augment = change.map(|(_, change)| change()).unwrap_or_default();
    random(bencher, [16, 112, 112, 3], &augment);
}

type Change = (&'static str, fn() -> Augment);

const CHANGES: [Change; 14] = [
    ("none", Augment::default),
    ("autocontrast", || Augment {
        autocontrast: 1.0,
        ..Augment::default()
    }),
    ("grayscale", || Augment {
        grayscale: 1.0,
        ..Augment::default()
    }),
    ("affine", || Augment {
        affine: Some(Affine {
            degrees: 10.0,
            ..Affine::default()
        }),
        ..Augment::default()
    }),
    ("rand_augment", || Augment {
        rand_augment: Some(RandAugment::default()),
        ..Augment::default()
    }),
    ("trivial_augment", || Augment {
        trivial_augment: Some(TrivialAugment::default()),
        ..Augment::default()
    }),
    ("shadow", || Augment {
        shadow: Some(Shadow {
            probability: 1.0,
            ..Shadow::default()
        }),
        ..Augment::default()
    }),
    ("rain", || Augment {
        rain: Some(Rain {
            probability: 1.0,
            ..Rain::default()
        }),
        ..Augment::default()
    }),
    ("snow", || Augment {
        snow: Some(Snow {
            probability: 1.0,
            ..Snow::default()
        }),
        ..Augment::default()
    }),
    ("fog", || Augment {
        fog: Some(Fog {
            probability: 1.0,
            ..Fog::default()
        }),
        ..Augment::default()
    }),
    ("gaussian_blur", || Augment {
        gaussian_blur: Some(GaussianBlur {
            probability: 1.0,
            ..GaussianBlur::default()
        }),
        ..Augment::default()
    }),
    ("gaussian_noise", || Augment {
        gaussian_noise: Some(GaussianNoise {
            probability: 1.0,
            ..GaussianNoise::default()
        }),
        ..Augment::default()
    }),
    ("gaussian_noise_each_frame", || Augment {
        gaussian_noise: Some(GaussianNoise {
            probability: 1.0,
            each_frame: true,
            ..GaussianNoise::default()
        }),
        ..Augment::default()
    }),
    ("coarse_dropout", || Augment {
        coarse_dropout: Some(CoarseDropout {
            probability: 1.0,
            ..CoarseDropout::default()
        }),
        ..Augment::default()
    }),
];

fn random(bencher: Bencher<'_, '_>, dims: [usize; 4], augment: &Augment) {
    let (clip, preprocess) = (clip(dims), Preprocess::new([112, 112], Resize::ShortSide));
    let mut epoch = 0;
    bencher.counter(pixels(&preprocess)).bench_local(|| {
        epoch += 1;
        preprocess.spatial_random(&clip, augment, &mut rng_for(1, epoch, 0, 0))
    });
}

#[divan::bench]
fn thermal_stretch(bencher: Bencher<'_, '_>) {
    let values = (0..64 * 40 * 60)
        .map(|i| 5.0 + (i % 400) as f32 * 0.1)
        .collect();
    let clip = Clip::new(
        [64, 40, 60, 1],
        Pixels::F32(values),
        vec![Timestamp::ZERO; 64],
    );
    let mut preprocess = Preprocess::new([256, 384], Resize::Stretch);
    preprocess.temperature = Some([5.0, 45.0]);
    let count = ItemsCount::new(64usize * 256 * 384);
    bencher
        .counter(count)
        .bench_local(|| preprocess.spatial(&clip));
}

#[divan::bench]
fn to_input(bencher: Bencher<'_, '_>) {
    let preprocess = Preprocess::new([112, 112], Resize::ShortSide);
    let device = burn::tensor::Device::flex();
    let dims = [8, 16, 112, 112, 3];
    bencher
        .counter(ItemsCount::new(8usize * 16 * 112 * 112))
        .with_inputs(|| vec![7; dims.iter().product()])
        .bench_local_values(|pixels| preprocess.to_input(pixels, dims, &device));
}

/// The flow of the ten pairs of a clip of 11 frames, on all threads.
#[divan::bench(sample_count = 10)]
fn flow_of_a_stack(bencher: Bencher<'_, '_>) {
    let [t, h, w] = [11, 112, 112];
    let wave = |t: usize, at: usize| {
        let (y, x) = ((at / w) as f32, (at % w) as f32 - 1.5 * t as f32);
        (0.3 * y + 0.2 * x).sin() + (0.5 * x - 0.1 * y).sin()
    };
    let places = (0..t).flat_map(|t| (0..h * w).map(move |at| (t, at)));
    let frames: Vec<f32> = places.flat_map(|(t, at)| [wave(t, at); 3]).collect();
    let pairs: Vec<[usize; 2]> = (0..10).map(|at| [at, at + 1]).collect();
    bencher
        .counter(ItemsCount::new(10 * h * w))
        .bench_local(|| TvL1::default().flows(&frames, [t, h, w], &pairs));
}
