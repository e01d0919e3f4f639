use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet: not to this machine, its network or a cloud's metadata service. An
/// IPv6 address that carries an IPv4 address is not public either.
///
/// A URL that comes from outside must not reach what only this machine can reach. Check the address of the connection, not
/// a name: a name may resolve to another address a moment later.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|(network, length)| is_in_v4(address, *network, *length)),
        // Only 2000::/3 is assigned. The rest is reserved, local, multicast, or carries an IPv4 address: `::ffff:0:0/96`,
        // `::/96`, and NAT64's `64:ff9b::/96` and `64:ff9b:1::/48`.
        IpAddr::V6(address) => {
            is_in_v6(address, 0x2000, 0, 3)
                && !NOT_PUBLIC_V6.iter().any(|(first, second, length)| is_in_v6(address, *first, *second, *length))
        }
    }
}

/// IANA's registry of special-purpose addresses, and one address of a cloud.
const NOT_PUBLIC_V4: &[([u8; 4], u32)] = &[
    // This network.
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Between a provider and its customers; Alibaba's metadata service is there too.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Of one link; most clouds have their metadata service at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    // Azure's platform, which answers every machine in it.
    ([168, 63, 129, 16], 32),
    ([172, 16, 0, 0], 12),
    // Protocol assignments; Oracle's metadata service.
    ([192, 0, 0, 0], 24),
    // Documentation.
    ([192, 0, 2, 0], 24),
    // Relays of 6to4.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    // Benchmarks.
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast; reserved and broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// The same within `2000::/3`: the first 32 bits, and the length of the prefix.
const NOT_PUBLIC_V6: &[(u16, u16, u32)] = &[
    // Protocol assignments: Teredo, which carries an IPv4 address, benchmarks, ORCHID.
    (0x2001, 0, 23),
    // Documentation.
    (0x2001, 0x0db8, 32),
    (0x3fff, 0, 20),
    // 6to4, which carries an IPv4 address.
    (0x2002, 0, 16),
];

fn is_in_v4(address: Ipv4Addr, network: [u8; 4], length: u32) -> bool {
    let differ = u32::from(address) ^ u32::from_be_bytes(network);
    differ.leading_zeros() >= length
}

fn is_in_v6(address: Ipv6Addr, first: u16, second: u16, length: u32) -> bool {
    let network = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    (u128::from(address) ^ u128::from(network)).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::10.0.0.1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
        "3fff:1000::1",
    ];

    #[test]
    fn each_form_of_a_private_address_is_known() {
        println!("{} private, {} public", PRIVATE.len(), PUBLIC.len());
        for text in PRIVATE {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in PUBLIC {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    /// The standard library's own words for some of these, over many addresses.
    #[test]
    fn it_is_stricter_than_the_standard_library() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200_000 {
            let v4 = Ipv4Addr::from(random.u32(..));
            let local = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast();
            assert!(!(local || v4.is_broadcast() || v4.is_documentation()) || !is_public(v4.into()), "{v4}");
            assert!(!is_public(v4.to_ipv6_mapped().into()), "{v4}");
            let v6 = Ipv6Addr::from(random.u128(..));
            let local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast();
            assert!(!local || !is_public(v6.into()), "{v6}");
        }
    }
}
