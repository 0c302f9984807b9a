"""What flows cost, alone and beside other packages that have tasks wait for tasks."""
