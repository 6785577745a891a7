//! Writes the training batches of a recipe's first epochs, as the loop sees them: the other half of
//! `reference/compare_steps.py`, which gives the same batches to PyTorch.
//!
//! `cargo run --release -p marey-train --example write_batches -- RECIPE EPOCHS FOLDER [SECTION.KEY=VALUE...]`
//!
//! `FOLDER/pixels.u8` holds the clips one after another, `u8` `[t, h, w, 3]` each; `FOLDER/batches.json` has
//! `dims` (`[t, h, w, 3]`), `classes`, `class_counts` (of the training split), and for each batch its `targets` and the
//! ids of its `items`.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
};

use marey_data::{Frames, Loader, LoaderConfig, Order, PackedStore, Split};
use marey_media::OpenOptions;
use marey_train::Recipe;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [recipe, epochs, folder, overrides @ ..] = &arguments[..] else {
        return Err("usage: write_batches RECIPE EPOCHS FOLDER [SECTION.KEY=VALUE...]".into());
    };
    let recipe = Recipe::read(Path::new(recipe), overrides)?;
    let loader = train_loader(&recipe)?;
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    let mut pixels = File::create(folder.join("pixels.u8"))?;
    let (mut batches, mut dims) = (Vec::new(), Vec::new());
    for epoch in 0..epochs.parse()? {
        for batch in loader.train_epoch(epoch, &recipe.augment, Order::Shuffled, 0) {
            let batch = batch?;
            pixels.write_all(&batch.pixels)?;
            dims = batch.dims[1..].to_vec();
            let id = |&idx: &usize| &loader.dataset().items[idx].id;
            let items: Vec<_> = batch.items.iter().map(id).collect();
            batches.push(json!({ "targets": batch.targets, "items": items }));
        }
    }
    let dataset = loader.dataset();
    let about = json!({
        "dims": dims,
        "classes": dataset.classes.names(),
        "class_counts": dataset.class_counts(Split::Train),
        "batches": batches,
    });
    fs::write(folder.join("batches.json"), about.to_string())?;
    Ok(())
}

/// The loader that `marey train` makes for the training split.
fn train_loader(recipe: &Recipe) -> Result<Loader, Box<dyn Error>> {
    let dataset = Arc::new(marey_data::load(&recipe.data)?);
    let frames = match &recipe.data.packed {
        Some(path) => Frames::Packed(Arc::new(PackedStore::open(path)?)),
        None => Frames::Files(OpenOptions::default()),
    };
    let config = LoaderConfig {
        batch: recipe.train.batch,
        workers: recipe.train.workers,
        prefetch: recipe.train.prefetch,
        seed: recipe.train.seed,
        drop_last: false,
    };
    let indices = dataset.indices(Split::Train);
    Ok(Loader::new(
        Arc::clone(&dataset),
        indices,
        recipe.sampling.clone(),
        recipe.preprocess.clone(),
        config,
        frames,
    )?)
}
