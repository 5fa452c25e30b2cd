//! Lists of CPUs as people write them, and threads bound to them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Some CPUs: `0`, `0-3`, `0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    all: Vec<usize>,
}

impl Cpus {
    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Cpus, String> {
        let wrong = || format!("{text:?} is not a list of CPUs; write 0, 0-3 or 0,2");
        let number = |text: &str| {
            text.trim().parse::<usize>().ok().filter(|number| *number < CpuSet::MAX_CPU).ok_or_else(wrong)
        };
        let mut all = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            all.extend(first..=last);
        }
        Ok(Cpus { all })
    }

    /// Binds the calling thread to them, and with it whatever it starts: threads and processes inherit this.
    ///
    /// # Errors
    /// Which of them cannot be had, for people.
    pub fn bind(&self) -> Result<(), String> {
        let mut set = CpuSet::new();
        self.all.iter().for_each(|cpu| set.set(*cpu));
        sched_setaffinity(None, &set).map_err(|error| format!("cannot run on {self} only: {error}"))?;
        // The kernel leaves out in silence what is not there.
        let bound = own();
        match self.all.iter().find(|cpu| !bound.all.contains(cpu)) {
            Some(cpu) => Err(format!("there is no CPU {cpu} for this process")),
            None => Ok(()),
        }
    }
}

/// Those the calling thread may run on.
pub fn own() -> Cpus {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    Cpus { all: (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect() }
}

impl std::fmt::Display for Cpus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list: Vec<String> = self.all.iter().map(usize::to_string).collect();
        write!(formatter, "CPU {}", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        let told = |text| Cpus::parse(text).map(|cpus| cpus.to_string());
        assert_eq!(told("0"), Ok("CPU 0".into()));
        assert_eq!(told("0-2, 7"), Ok("CPU 0, 1, 2, 7".into()));
        for wrong in ["", "a", "3-1", "1,,2", "100000"] {
            assert!(told(wrong).unwrap_err().contains("list of CPUs"), "{wrong:?}");
        }
    }

    #[test]
    fn a_thread_can_be_bound_and_only_to_what_is_there() {
        let (first, missing) = std::thread::spawn(|| {
            let first = Cpus { all: own().all[..1].to_vec() };
            first.bind().unwrap();
            (own() == first, Cpus { all: vec![CpuSet::MAX_CPU - 1] }.bind())
        })
        .join()
        .unwrap();
        assert!(first);
        assert!(missing.is_err());
    }
}
