//! Facts about this machine and this process.

use std::{fs, path::Path};

use sysinfo::{Disks, System};

/// Highest resident memory of this process so far, in bytes; `None` where the system does not say.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Total and available memory in bytes; `None` where the system does not say.
pub(crate) fn memory_bytes() -> Option<(u64, u64)> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    Some((system.total_memory(), system.available_memory()))
}

/// Free space in bytes on the disk that holds `path`, which must exist; `None` where the system does not say.
pub(crate) fn free_disk_bytes(path: &Path) -> Option<u64> {
    let path = fs::canonicalize(path).ok()?;
    let disks = Disks::new_with_refreshed_list().ok()?;
    // The deepest mount point above the path is the disk that holds it.
    let holder = disks
        .iter()
        .filter(|disk| path.starts_with(disk.mount_point()));
    holder
        .max_by_key(|disk| disk.mount_point().components().count())
        .map(sysinfo::Disk::available_space)
}

/// The processor's name.
pub(crate) fn cpu_name() -> String {
    let brand = || {
        let mut system = System::new().ok()?;
        system.refresh_cpu_all();
        Some(system.cpus().first()?.brand().trim().to_owned())
    };
    brand().unwrap_or_else(|| "unknown".to_owned())
}

/// Threads that can run at once.
pub(crate) fn num_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The vector extensions that kernels may use here.
pub(crate) fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ];
        found
            .into_iter()
            .filter_map(|(name, is_there)| is_there.then_some(name))
            .collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("neon") {
            vec!["neon"]
        } else {
            Vec::new()
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        Vec::new()
    }
}

/// A number of bytes for people.
pub(crate) fn readable_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 {
        format!("{mib:.0} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

/// A number of seconds for people.
pub(crate) fn readable_secs(secs: f64) -> String {
    let whole = secs.round() as u64;
    match whole {
        0..60 => format!("{secs:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}
