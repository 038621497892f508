"""The only part that touches the kernel's configuration: links through pyroute2, rulesets through nft.

Each module owns one object: `probe` what is possible, `bridge` the links, `nft` and `netlink_rule` the wire to
nftables, `interception` the queue, `sync` the fallback ruleset, `guard` the quarantine, `counters` the counts.
Every write is read back; every refusal is a KernelError. Called by gateway.control and the lab only.
"""
