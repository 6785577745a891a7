//! How often random labels are taken for skill: predictors that know nothing, judged on many simulated data sets.
//!
//! Two claims of every report are tested. The interval of a figure whose expected value under chance is known (top-1, mean class
//! accuracy, MCC, ROC AUC, each at its own chance level) excludes that value in at most 5 % of the data sets. And no figure with a
//! baseline, all twelve of a classification, is said to be better than its baseline in more than 5 %.

use marey_clip::{SeededRng, rng_for};
use marey_eval::{Bootstrap, Scored, Standing, classify, wilson};
use rand::Rng;

const NUM_SETS: u64 = 1200;
const DRAWS: usize = 200;

/// A world in which labels and scores have nothing to do with each other.
struct World {
    name: &'static str,
    classes: usize,
    groups: usize,
    /// Mean number of items in a group; sizes are uniform in 1..2 × this.
    group_size: usize,
    /// How much labels of a group are alike: 0 not at all, 1 all the same.
    label_likeness: f64,
    /// How much answers within a group are alike.
    answer_likeness: f64,
    is_grouped: bool,
}

impl World {
    fn draw(&self, rng: &mut SeededRng) -> Vec<Scored> {
        let mut items = Vec::new();
        for group in 0..self.groups {
            let size = rng.random_range(1..2 * self.group_size);
            let favourites = [0, 1].map(|_| rng.random_range(0..self.classes));
            for idx in 0..size {
                let mut pick = |likeness: f64, favourite: usize| {
                    if rng.random::<f64>() < likeness {
                        favourite
                    } else {
                        rng.random_range(0..self.classes)
                    }
                };
                let target = pick(self.label_likeness, favourites[0]);
                let answer = pick(self.answer_likeness, favourites[1]);
                let mut scores: Vec<f32> = (0..self.classes).map(|_| rng.random()).collect();
                scores[answer] += 1.0;
                let sum: f32 = scores.iter().sum();
                items.push(Scored {
                    item: format!("{group}/{idx}"),
                    group: self.is_grouped.then(|| group.to_string()),
                    target,
                    scores: scores.iter().map(|score| score / sum).collect(),
                });
            }
        }
        items
    }

    /// Data sets in which a claim of this kind was made, by `(figure, claim)`.
    fn claims(&self, seed: u64) -> Vec<((String, &'static str), u64)> {
        let names: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        let mut claims: Vec<((String, &'static str), u64)> = Vec::new();
        let mut count = |figure: &str, claim: &'static str, is_made: bool| {
            let key = (figure.to_owned(), claim);
            let at = match claims.iter().position(|(known, _)| *known == key) {
                Some(at) => at,
                None => {
                    claims.push((key, 0));
                    claims.len() - 1
                }
            };
            claims[at].1 += u64::from(is_made);
        };
        for set in 0..NUM_SETS {
            let mut rng = rng_for(seed, set, 0, 0);
            let items = self.draw(&mut rng);
            let bootstrap = Bootstrap {
                draws: DRAWS,
                seed: set,
            };
            let found =
                classify(&names, &vec![1; self.classes], &items, &bootstrap).expect("sound items");
            let present = found
                .per_class
                .iter()
                .filter(|class| class.support > 0)
                .count();
            for figure in &found.figures {
                count(
                    &figure.name,
                    "is better than its baseline",
                    figure.standing() == Standing::Above,
                );
                let chance = match figure.name.as_str() {
                    "top1" | "mean_class_accuracy" => 1.0 / self.classes as f64,
                    "mcc" if present > 1 => 0.0,
                    "roc_auc" => 0.5,
                    _ => continue,
                };
                let is_excluded = !figure.widest_interval().contains(chance);
                count(&figure.name, "excludes chance", is_excluded);
            }
        }
        claims
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the measured rates are worth reading, with --nocapture"
)]
fn check(world: &World, seed: u64) {
    let claims = world.claims(seed);
    assert!(claims.len() >= 16, "{}: {claims:?}", world.name);
    for ((figure, claim), count) in claims {
        let rate = wilson(count, NUM_SETS);
        let share = 100.0 * count as f64 / NUM_SETS as f64;
        println!(
            "{}: {figure} {claim} in {share:.1} % of the sets",
            world.name
        );
        // Wilson's lower end, so that a true rate of 5 % is not taken for more by luck.
        assert!(
            rate.low <= 0.05,
            "{}: {figure} {claim} in {share:.1} % of the sets",
            world.name
        );
    }
}

#[test]
fn independent_items() {
    let world = World {
        name: "independent items",
        classes: 4,
        groups: 100,
        group_size: 1,
        label_likeness: 0.0,
        answer_likeness: 0.0,
        is_grouped: false,
    };
    check(&world, 1);
}

#[test]
fn cameras_with_habits() {
    let world = World {
        name: "cameras with habits",
        classes: 4,
        groups: 20,
        group_size: 6,
        label_likeness: 0.6,
        answer_likeness: 0.6,
        is_grouped: true,
    };
    check(&world, 2);
}

#[test]
fn few_cameras_with_one_label_each() {
    let world = World {
        name: "few cameras with one label each",
        classes: 2,
        groups: 8,
        group_size: 8,
        label_likeness: 1.0,
        answer_likeness: 0.7,
        is_grouped: true,
    };
    check(&world, 3);
}
