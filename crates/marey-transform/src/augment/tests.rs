//! What a whole draw does: to which frames, on which clips, beside which settings.

use marey_clip::{Clip, Pixels, Timestamp, rng_for};

use super::*;

fn check_refused(augment: &Augment, resize: Resize, message: &str) {
    check_refused_beside(augment, &Preprocess::new([8, 8], resize), message);
}

fn check_refused_beside(augment: &Augment, preprocess: &Preprocess, message: &str) {
    let error = augment.validate(preprocess).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let none = Augment::default();
    assert_eq!(
        none.validate(&Preprocess::new([8, 8], Resize::Stretch)),
        Ok(())
    );
    check_refused(
        &Augment {
            flip: 1.5,
            ..none.clone()
        },
        Resize::Stretch,
        "augment.flip: 1.5 is no probability, expected 0 to 1",
    );
    check_refused(
        &Augment {
            random_crop: true,
            ..none.clone()
        },
        Resize::Stretch,
        "augment.random_crop: has no effect with preprocess.resize = \"stretch\", which has no crop: remove it",
    );
    let crop = RandomResizedCrop {
        scale: [0.5, 0.1],
        ..RandomResizedCrop::default()
    };
    check_refused(
        &Augment {
            random_resized_crop: Some(crop),
            ..none.clone()
        },
        Resize::Stretch,
        "augment.random_resized_crop.scale: [0.5, 0.1] is no range, expected 0 < low <= high <= 1",
    );
    check_refused(
        &Augment {
            random_crop: true,
            random_resized_crop: Some(RandomResizedCrop::default()),
            ..none.clone()
        },
        Resize::ShortSide,
        "augment.random_crop: has no effect beside augment.random_resized_crop: remove it",
    );
    check_refused(
        &Augment {
            color_jitter: Some(ColorJitter::default()),
            ..none.clone()
        },
        Resize::Stretch,
        "augment.color_jitter: has no effect with every value at 0: remove it, or set one",
    );
    let jitter = ColorJitter {
        hue: 0.6,
        ..ColorJitter::default()
    };
    check_refused(
        &Augment {
            color_jitter: Some(jitter),
            ..none
        },
        Resize::Stretch,
        "augment.color_jitter.hue: 0.6 is outside 0 to 0.5",
    );
}

#[test]
fn probabilities_are_met() {
    let augment = Augment {
        flip: 0.3,
        random_erasing: Some(RandomErasing {
            probability: 0.25,
            ..RandomErasing::default()
        }),
        ..Augment::default()
    };
    let preprocess = Preprocess::new([32, 32], Resize::Stretch);
    let from = Size {
        height: 32,
        width: 32,
    };
    let draws: Vec<Draw> = (0..4000)
        .map(|i| augment.draw(&preprocess, from, false, &mut rng_for(1, 0, i, 0)))
        .collect();
    // Five standard deviations of 4000 draws are below 0.04.
    let share = |count: usize| count as f32 / 4000.0;
    assert!((share(draws.iter().filter(|draw| draw.flip).count()) - 0.3).abs() < 0.04);
    assert!(
        (share(
            draws
                .iter()
                .filter(|draw| matches!(draw.changes[..], [Change::Paint(..)]))
                .count()
        ) - 0.25)
            .abs()
            < 0.04
    );
}

#[test]
fn every_table_has_a_probability_and_ranges() {
    let base = Augment::default();
    let cases = [
        (
            Augment {
                rain: Some(Rain {
                    probability: 0.0,
                    ..Rain::default()
                }),
                ..base.clone()
            },
            "augment.rain.probability: 0 leaves the whole table without effect: remove the table",
        ),
        (
            Augment {
                fog: Some(Fog {
                    near: 1.5,
                    ..Fog::default()
                }),
                ..base.clone()
            },
            "augment.fog.near: 1.5 is outside 0 to 1",
        ),
        (
            Augment {
                snow: Some(Snow {
                    brightness: 1.0,
                    ..Snow::default()
                }),
                ..base.clone()
            },
            "augment.snow.brightness: 1 bleaches nothing, expected above 1",
        ),
        (
            Augment {
                affine: Some(Affine::default()),
                ..base.clone()
            },
            "augment.affine: has no effect as it is: set degrees, translate or scale, or remove it",
        ),
        (
            Augment {
                coarse_dropout: Some(CoarseDropout {
                    holes: [4, 2],
                    ..CoarseDropout::default()
                }),
                ..base.clone()
            },
            "augment.coarse_dropout.holes: [4, 2] is no range, expected 1 <= low <= high <= 100",
        ),
        (
            Augment {
                gaussian_noise: Some(GaussianNoise {
                    sigma: [0.0, f32::NAN],
                    ..GaussianNoise::default()
                }),
                ..base.clone()
            },
            "augment.gaussian_noise.sigma: [0, NaN] is no range, expected 0 < low <= high <= 1",
        ),
        (
            Augment {
                rand_augment: Some(RandAugment::default()),
                trivial_augment: Some(TrivialAugment::default()),
                ..base
            },
            "augment.trivial_augment: is set beside augment.rand_augment, of which it is the other form: \
             remove one of them",
        ),
    ];
    for (augment, message) in cases {
        check_refused(&augment, Resize::Stretch, message);
    }
}

#[test]
fn temperatures_take_no_colour() {
    let thermal = Preprocess {
        temperature: Some([5.0, 45.0]),
        ..Preprocess::new([32, 32], Resize::Stretch)
    };
    let grey = Augment {
        grayscale: 0.1,
        ..Augment::default()
    };
    let message = "augment.grayscale: has no effect on temperatures, which are grey: remove it";
    check_refused_beside(&grey, &thermal, message);
    let tinted = Augment {
        fog: Some(Fog {
            light: [200, 210, 220],
            ..Fog::default()
        }),
        ..Augment::default()
    };
    let message = "augment.fog.light: [200, 210, 220] is a colour, and temperatures are grey: give three equal values";
    check_refused_beside(&tinted, &thermal, message);
    assert_eq!(
        tinted.validate(&Preprocess::new([32, 32], Resize::Stretch)),
        Ok(())
    );
}

fn clip(dims: [usize; 4], value: impl Fn(usize) -> u8) -> Clip {
    let pixels = (0..dims.iter().product()).map(value).collect();
    Clip::new(dims, Pixels::U8(pixels), vec![Timestamp::ZERO; dims[0]])
}

fn noise(dims: [usize; 4]) -> Clip {
    clip(dims, |i| {
        (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
    })
}

/// Everything that keeps a clip of equal frames a clip of equal frames, each with certainty; `policy` is RandAugment
/// for even seeds.
fn certain(seed: u64) -> Augment {
    Augment {
        flip: 0.5,
        vertical_flip: 0.5,
        autocontrast: 1.0,
        affine: Some(Affine {
            degrees: 20.0,
            translate: 0.1,
            scale: [0.8, 1.2],
            ..Affine::default()
        }),
        rand_augment: seed.is_multiple_of(2).then(RandAugment::default),
        trivial_augment: (!seed.is_multiple_of(2)).then(TrivialAugment::default),
        shadow: Some(Shadow {
            probability: 1.0,
            ..Shadow::default()
        }),
        rain: Some(Rain {
            probability: 1.0,
            fall: 0.0,
            ..Rain::default()
        }),
        snow: Some(Snow {
            probability: 1.0,
            ..Snow::default()
        }),
        fog: Some(Fog {
            probability: 1.0,
            ..Fog::default()
        }),
        gaussian_blur: Some(GaussianBlur {
            probability: 1.0,
            ..GaussianBlur::default()
        }),
        gaussian_noise: Some(GaussianNoise {
            probability: 1.0,
            ..GaussianNoise::default()
        }),
        coarse_dropout: Some(CoarseDropout {
            probability: 1.0,
            ..CoarseDropout::default()
        }),
        color_jitter: Some(ColorJitter {
            brightness: 0.3,
            contrast: 0.3,
            ..ColorJitter::default()
        }),
        random_crop: false,
        random_resized_crop: Some(RandomResizedCrop::default()),
        random_erasing: Some(RandomErasing::default()),
        grayscale: 0.0,
    }
}

fn frames(clip: &Clip) -> Vec<&[u8]> {
    let Pixels::U8(values) = clip.pixels() else {
        panic!("{:?} are no bytes", clip.dims());
    };
    values
        .chunks_exact(clip.pixels().len() / clip.dims()[0])
        .collect()
}

#[test]
fn all_frames_get_the_same_change() {
    let preprocess = Preprocess::new([24, 32], Resize::Stretch);
    let one = noise([1, 40, 50, 3]);
    let Pixels::U8(frame) = one.pixels() else {
        panic!("bytes");
    };
    let still = Clip::new(
        [4, 40, 50, 3],
        Pixels::U8(frame.repeat(4)),
        vec![Timestamp::ZERO; 4],
    );
    for seed in 0..24 {
        let augment = certain(seed);
        assert_eq!(augment.validate(&preprocess), Ok(()));
        let draw = |clip: &Clip| {
            preprocess
                .spatial_random(clip, &augment, &mut rng_for(seed, 0, 0, 0))
                .expect("light")
        };
        let out = draw(&still);
        let found = frames(&out);
        assert!(found.iter().all(|frame| *frame == found[0]), "seed {seed}");
        assert_ne!(
            found[0],
            frames(&preprocess.spatial(&one).expect("light"))[0],
            "seed {seed}"
        );
        // As many frames as there are, each as if it were the only one.
        assert_eq!(frames(&draw(&one))[0], found[0], "seed {seed}");
    }
}

#[test]
fn rain_falls_and_sensor_noise_flickers() {
    let preprocess = Preprocess::new([24, 32], Resize::Stretch);
    let still = clip([3, 24, 32, 3], |_| 90);
    let moving = [
        Augment {
            rain: Some(Rain {
                probability: 1.0,
                ..Rain::default()
            }),
            ..Augment::default()
        },
        Augment {
            gaussian_noise: Some(GaussianNoise {
                probability: 1.0,
                each_frame: true,
                ..GaussianNoise::default()
            }),
            ..Augment::default()
        },
    ];
    for augment in moving {
        let out = preprocess.spatial_random(&still, &augment, &mut rng_for(1, 0, 0, 0));
        let out = out.expect("light");
        assert_ne!(frames(&out)[0], frames(&out)[1], "{augment:?}");
    }
}

#[test]
fn temperatures_are_augmented_as_the_grey_light_that_they_become() {
    let thermal = Preprocess {
        temperature: Some([5.0, 45.0]),
        ..Preprocess::new([24, 32], Resize::Stretch)
    };
    let values: Vec<f32> = (0..3 * 20 * 30)
        .map(|idx| 5.0 + (idx % 97) as f32 * 0.4)
        .collect();
    let celsius = Clip::new(
        [3, 20, 30, 1],
        Pixels::F32(values),
        vec![Timestamp::ZERO; 3],
    );
    let window = Preprocess {
        size: [20, 30],
        ..thermal.clone()
    };
    // The same light as a grey clip.
    let light: Vec<u8> = frames(&window.spatial(&celsius).expect("temperatures"))
        .concat()
        .chunks_exact(3)
        .map(|pixel| pixel[0])
        .collect();
    let light = Clip::new([3, 20, 30, 1], Pixels::U8(light), vec![Timestamp::ZERO; 3]);
    for seed in 0..24 {
        let augment = certain(seed);
        assert_eq!(augment.validate(&thermal), Ok(()));
        let rng = || rng_for(seed, 0, 0, 0);
        let out = thermal
            .spatial_random(&celsius, &augment, &mut rng())
            .expect("temperatures");
        let same = thermal
            .for_packed()
            .spatial_random(&light, &augment, &mut rng());
        assert_eq!(out, same.expect("light"), "seed {seed}");
        for pixel in frames(&out).concat().chunks_exact(3) {
            assert!(
                pixel[0] == pixel[1] && pixel[1] == pixel[2],
                "seed {seed}: {pixel:?}"
            );
        }
    }
}
