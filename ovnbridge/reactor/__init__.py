"""The machine between the pure layers and the edges: World changes in, engine slices, touched keys out to the sinks.

Controller and node agent are the same machine with different sources, compilers and sinks (DESIGN section 1). `reactor`
pumps; `allocator` turns claims into leases and leases into IP objects; `sources` adapts reflectors and replicas;
`overdue` knows which pods' time is over; `check` compares what is kept with a recomputation.
"""

from ovnbridge.reactor.allocator import Allocator
from ovnbridge.reactor.check import Checked
from ovnbridge.reactor.overdue import Overdue
from ovnbridge.reactor.reactor import Reactor, RowSink
from ovnbridge.reactor.sources import KubeSource

__all__ = ["Allocator", "Checked", "KubeSource", "Overdue", "Reactor", "RowSink"]
