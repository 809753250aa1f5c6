"""VirtualMachineInstanceMigrations: who may go when, the target's pod, the hand-over to the nodes, and the end."""
