//! No bytes panic the reader of packet captures, or make it take more than it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::recordings::{Taken, pcap};

fuzz_target!(|data: &[u8]| {
    for taken in [Taken::Queries, Taken::Responses] {
        let mut count = 0_u64;
        if let Ok(tally) = pcap::read(data, 53, taken, &mut |_| count += 1) {
            assert_eq!(tally.queries, count);
        }
    }
});
